"""`dcgan train`: what it sends, and what its exit code says of the job."""

import json

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
def test_only_a_job_that_succeeded_is_a_success(
    service: Service, state: str, exit_code: int, told: str
) -> None:
    service.events = [(1, "state", {"state": "queued"}), (2, "state", {"state": state})]
    done = train(service)
    assert (done.exit_code, done.stderr) == (exit_code, told)


def test_priority_is_chosen_in_the_words_of_the_api(service: Service) -> None:
    [option] = [option for option in main.commands["train"].params if option.name == "priority"]
    assert isinstance(option.type, click.Choice)
    assert [*option.type.choices] == [priority.value for priority in Priority]
    assert train(service, "--detach", "--priority", "low").exit_code == 0
    assert json.loads(service.bodies[0]) == {"dataset": "ds_1", "priority": "low"}


def test_ctrl_c_leaves_the_job_and_is_no_success(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dcgan.cli.follow", interrupt)
    monkeypatch.setattr("dcgan.cli.console", Console(highlight=False, width=40))
    done = train(service)
    assert done.exit_code == 130
    assert f"The job goes on; `dcgan cancel {JOB}` ends it.\n" in done.stdout
