"""`dcgan train`: what it sends, and what its exit code says about the job."""

import contextlib
import json
import signal
import subprocess
import sys
import threading

import click
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from contract.submission import Priority
from dcgan.cli import main
from tests.dcgan.conftest import JOB, Service


def train(service: Service, *options: str) -> Result:
    job = {"id": JOB, "state": "queued", "progress": {"images_seen": 0, "total": 1}, "revision": 1}
    service.answers["POST /jobs"] = (202, "application/json", json.dumps(job).encode())
    return CliRunner().invoke(main, ["--url", service.url, "train", "ds_1", *options])


@pytest.mark.parametrize(
    ("state", "exit_code", "told"),
    [
        ("succeeded", 0, ""),
        ("failed", 1, f"Error: {JOB} ended as failed; `dcgan retry {JOB}` trains it again.\n"),
        ("cancelled", 1, f"Error: {JOB} ended as cancelled; `dcgan retry {JOB}` trains it again.\n"),
        ("paused", 1, f"Error: {JOB} is paused; `dcgan resume {JOB}` queues it again.\n"),
    ],
)
def test_exit_code_is_zero_only_if_the_job_succeeded(
    service: Service, state: str, exit_code: int, told: str
) -> None:
    service.events = [(1, "state", {"state": "queued"}), (2, "state", {"state": state})]
    done = train(service)
    assert (done.exit_code, done.stderr) == (exit_code, told)
    watched = CliRunner().invoke(main, ["--url", service.url, "watch", JOB])
    assert (watched.exit_code, watched.stderr) == (exit_code, told)
    assert watched.stdout.startswith(state)


def test_end_names_the_checkpoint_that_is_served(service: Service) -> None:
    """The best, which may be another than the last one judged."""
    best = {"digest": "sha256:1", "images_seen": 113_152, "metrics": {"kd": 0.1, "fd": 1.9697}}
    job = {"id": JOB, "state": "succeeded", "progress": {"images_seen": 1, "total": 1}, "checkpoint": best}
    service.answers[f"GET /jobs/{JOB}"] = (200, "application/json", json.dumps(job).encode())
    done = CliRunner().invoke(main, ["--url", service.url, "watch", JOB])
    told = f"serves its best, of 113,152 images, fd 1.97: `dcgan samples --model {JOB}`\n"
    assert (done.exit_code, done.stdout.endswith(told)) == (0, True), done.output


@pytest.mark.parametrize("fault", ["away", "lost"])
def test_outage_between_two_events_does_not_end_the_command(service: Service, fault: str) -> None:
    states = [*enumerate(("queued", "running", "succeeded"), 1)]
    service.events = [(number, "state", {"state": state}) for number, state in states]
    service.states = ["running", fault, "running"]
    done = train(service)
    assert (done.exit_code, done.stderr) == (0, "")
    assert service.asked.count(f"GET /jobs/{JOB}") == 4


def test_priority_option_takes_the_values_of_the_api(service: Service) -> None:
    [option] = [option for option in main.commands["train"].params if option.name == "priority"]
    assert isinstance(option.type, click.Choice)
    assert [*option.type.choices] == [priority.value for priority in Priority]
    assert train(service, "--detach", "--priority", "low").exit_code == 0
    assert json.loads(service.bodies[0]) == {"dataset": "ds_1", "priority": "low"}


def test_any_other_field_is_set_as_json_or_as_a_bare_word(service: Service) -> None:
    fields = ("prior.dimension=8", "weights=[0.5]", "note=well=done", "limit=NaN", "self=me", "empty=")
    done = train(service, "--detach", *(word for field in fields for word in ("--set", field)))
    assert done.exit_code == 0, done.output
    assert json.loads(service.bodies[0]) == {
        "dataset": "ds_1",
        "prior.dimension": 8,
        "weights": [0.5],
        "note": "well=done",
        "limit": "NaN",
        "self": "me",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("dataset=ds_2", "the dataset is an argument"),
        ("idempotency_key=5", "idempotency_key is no field of a job"),
        ("batch_size", "'batch_size' is not FIELD=JSON"),
        ("=5", "'=5' is not FIELD=JSON"),
        ("seed=2", "seed is given twice"),
        ("mirror=true", "mirror is given twice"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_field_that_cannot_be_set_is_reported(
    service: Service, field: str, told: str, options: tuple[str, ...]
) -> None:
    done = train(service, *options, "--seed", "1", "--set", "mirror=false", "--set", field)
    assert done.exit_code == 2
    assert told in done.stderr
    assert not service.asked


def test_variable_of_the_environment_gives_way_to_any_option(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCGAN_SUBMITTER", "ada")
    for options in ((), ("--submitter", "bob"), ("--set", "submitter=eve")):
        assert train(service, "--detach", *options).exit_code == 0
    assert [json.loads(body)["submitter"] for body in service.bodies] == ["ada", "bob", "eve"]


@pytest.mark.parametrize(
    ("words", "variable"), [(("--help",), "DCGAN_URL"), (("train", "--help"), "DCGAN_SUBMITTER")]
)
def test_variables_of_the_environment_are_in_the_help(words: tuple[str, ...], variable: str) -> None:
    assert variable in CliRunner().invoke(main, words).output


def test_ctrl_c_leaves_the_job_running_and_is_not_a_success(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dcgan.jobs_cli.follow", interrupt)
    monkeypatch.setattr("dcgan.jobs_cli.console", Console(highlight=False, width=40))
    done = train(service)
    assert done.exit_code == 130
    assert f"`dcgan watch {JOB}` shows it again, `dcgan cancel {JOB}` ends it.\n" in done.stdout


WITH_CTRL_C = """
import signal
from dcgan.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background jobs ignore Ctrl-C
main()
"""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("train", "ds_1"), "The job may have been submitted; if it was, `dcgan jobs` shows it.\n"),
        (("retry", JOB), "The job may have been submitted; if it was, `dcgan jobs` shows it.\n"),
        (("train", "ds_1", "--dry-run"), ""),
        (("watch", JOB), ""),
        (("upload", __file__), "The archive may have been uploaded; if it was, `dcgan datasets` shows it.\n"),
    ],
)
def test_ctrl_c_before_the_answer_says_what_may_have_happened(
    service: Service, words: tuple[str, ...], told: str
) -> None:
    service.pause, service.losses = threading.Barrier(2, timeout=60), 1
    command = [sys.executable, "-P", "-c", WITH_CTRL_C, "--url", service.url, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        service.pause.wait()
        output = _end(process)
        service.pause.wait()
    assert (process.returncode, *output) == (130, "", told)


def _end(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Press Ctrl-C, and again if Python was about to wait for the answer: then it heeds none before that."""
    for _ in range(10):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=5)
    raise AssertionError("it ignores Ctrl-C")
