"""The command line: foreign packages do not get in its way, and errors are sentences."""

import errno
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner

from contract.formats import FORMS, SampleFormat
from dcgan import Client
from dcgan.cli import main
from tests.dcgan.conftest import JOB, Service


@pytest.mark.parametrize(
    ("module", "option"), [("service.launcher", "trainers"), ("service", "port"), ("worker", "role")]
)
def test_processes_start_beside_foreign_packages_of_the_same_names(
    tmp_path: Path, module: str, option: str
) -> None:
    for package in ("contract", "models", "worker", "service"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong one')")
    code = f"from dcgan import cli; cli._become({module!r}, {{{option!r}: 'nonsense'}})"
    started = [sys.executable, "-P", "-c", code]
    done = subprocess.run(started, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "the wrong one" not in done.stderr
    assert f"argument --{option}: invalid" in done.stderr


def test_up_passes_its_options_to_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    become: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: become.append(command))
    CliRunner().invoke(main, ["up", "--port", "8123", "--trainers", "0"])
    assert become == [[sys.executable, "-P", "-m", "service.launcher", "--port=8123", "--trainers=0"]]


def test_error_is_a_sentence() -> None:
    done = CliRunner().invoke(main, ["--url", "http://127.0.0.1:9", "jobs"])
    assert done.exit_code == 1
    assert done.output.startswith("Error: No service answers at http://127.0.0.1:9")


def test_version_is_printed() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.endswith(f"version {version('dcgan')}\n")


@pytest.mark.parametrize(
    ("name", "chosen"), [("sheet.webp", "webp"), ("sheet", "png"), ("a.b.zip", "zip"), ("S.PNG", "png")]
)
def test_file_extension_selects_the_format(
    service: Service, tmp_path: Path, name: str, chosen: SampleFormat
) -> None:
    service.answers["GET /samples"] = (200, FORMS[chosen].media_type, b"picture")
    done = CliRunner().invoke(main, ["--url", service.url, "samples", "-o", str(tmp_path / name)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / name).read_bytes() == b"picture"
    assert f"format={chosen}" in service.asked[-1]


def test_unwritable_file_is_reported_in_a_sentence(service: Service, tmp_path: Path) -> None:
    service.answers["GET /samples"] = (200, "image/png", b"picture")
    target = tmp_path / "nowhere" / "sheet.png"
    done = CliRunner().invoke(main, ["--url", service.url, "samples", "-o", str(target)])
    assert (done.exit_code, done.output) == (1, f"Error: {target}: No such file or directory\n")


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "./x.png"])
def test_samples_on_stdout_are_bytes_and_nothing_else(service: Service, tmp_path: Path, name: str) -> None:
    picture = bytes(range(256))
    service.answers["GET /samples"] = (200, "image/png", picture)
    command = [sys.executable, "-P", "-m", "dcgan.cli", "--url", service.url, "samples", "-o", name]
    with (tmp_path / "x.png").open("wb") as redirected:
        done = subprocess.run(command, cwd=tmp_path, stdout=redirected, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x.png": picture}


def test_samples_on_the_path_to_another_seed(service: Service, tmp_path: Path) -> None:
    service.answers["GET /samples"] = (200, "image/png", b"picture")
    command = ["samples", "--seed", "7", "--to", "42", "--count", "9", "-o", str(tmp_path / "path.png")]
    assert CliRunner().invoke(main, ["--url", service.url, *command]).exit_code == 0
    (asked,) = service.asked
    assert {"seed=7", "to=42", "count=9"} <= {*asked.partition("?")[2].split("&")}


def test_samples_to_a_device_or_a_full_disk(service: Service) -> None:
    service.answers["GET /samples"] = (200, "image/png", b"picture")
    done = CliRunner().invoke(main, ["--url", service.url, "samples", "-o", "/dev/null"])
    assert (done.exit_code, done.output) == (0, "")
    done = CliRunner().invoke(main, ["--url", service.url, "samples", "-o", "/dev/full"])
    assert (done.exit_code, done.output) == (1, "Error: /dev/full: No space left on device\n")


def list_a_job(service: Service, name: str) -> None:
    progress = {"images_seen": 1200, "total": 120_000}
    job = {"id": JOB, "state": "running", "progress": progress, "name": name}
    listed = json.dumps({"items": [job], "next": None}).encode()
    service.answers["GET /jobs"] = (200, "application/json", listed)


def test_jobs_are_listed_in_full_however_long_their_names(service: Service) -> None:
    list_a_job(service, "n" * 120)
    shown = CliRunner().invoke(main, ["--url", service.url, "jobs"]).output.splitlines()
    assert shown[1].split() == [JOB, "running", "1,200/120,000", "n" * 120]


def test_interpreter_that_cannot_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    done = CliRunner().invoke(main, ["up"])
    assert (done.exit_code, done.output) == (1, "Error: /nowhere/python: No such file or directory\n")


def test_other_error_of_the_system_is_not_blamed_on_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Client, "jobs", fail)
    done = CliRunner().invoke(main, ["jobs"])
    assert (done.exit_code, done.output) == (1, "Error: Input/output error\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("jobs",), ("--help",), ("jobs", "--help")])
def test_output_to_a_full_device_is_reported_in_a_sentence(
    service: Service, words: tuple[str, ...], unbuffered: str
) -> None:
    list_a_job(service, "one")
    command = [sys.executable, "-P", "-m", "dcgan.cli", "--url", service.url, *words]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    told = "Error: The output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("jobs",), "Error: The output cannot be written: Bad file descriptor\n"),
        (("--help",), "Error: The output cannot be written: Bad file descriptor\n"),
        (("samples", "-o", "x.png"), "Error: The output cannot be written: Bad file descriptor\n"),
        (("models", "export", "-o", "-"), "Error: -: Bad file descriptor\n"),
        (("models", "delete", "live"), ""),
    ],
)
def test_closed_stdout_is_an_error_only_if_something_is_written_to_it(
    service: Service, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    list_a_job(service, "one")
    service.answers |= {
        "GET /samples": (200, "image/png", b"picture"),
        "GET /models/latest/export": (200, "application/octet-stream", b"generator"),
        "DELETE /models/live": (204, "", b""),
    }
    (tmp_path / "x.png").touch()
    closing = ["sh", "-c", 'exec "$@" >&-', "sh"]
    command = [*closing, sys.executable, "-P", "-m", "dcgan.cli", "--url", service.url, *words]
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1 if told else 0, told)
    assert (tmp_path / "x.png").read_bytes() == (b"picture" if "x.png" in words else b"")


def test_characters_that_the_terminal_cannot_encode_are_replaced(service: Service) -> None:
    list_a_job(service, "猫 é")
    command = [sys.executable, "-P", "-m", "dcgan.cli", "--url", service.url, "jobs"]
    environment = os.environ | {"PYTHONIOENCODING": "iso-8859-1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(b"  ? \xe9\n")


@pytest.mark.parametrize(
    "words",
    [
        ("jobs",),
        ("models",),
        ("models", "delete", "live"),
        ("models", "promote", "live", JOB),
        ("cancel", JOB),
        ("train", "ds_1"),
        ("train", "ds_1", "--dry-run"),
        ("upload", "FILE"),
        ("samples", "-o", "made"),
        ("models", "export", "-o", "made"),
    ],
)
def test_response_of_another_server_is_neither_trusted_nor_saved(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_bytes(b"pictures")
    service.page = b"<!doctype html><h1>It works!</h1>"
    done = CliRunner().invoke(main, ["--url", service.url, *words])
    assert done.exit_code == 1, done.output
    assert "answered, but not as this service does; is the address right? (not_the_service)" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


@pytest.mark.parametrize("address", [f"/jobs/{JOB}", "/datasets/ds_0123456789abcdef"])
def test_delete_takes_jobs_and_datasets(service: Service, address: str) -> None:
    service.answers[f"DELETE {address}"] = (204, "", b"")
    done = CliRunner().invoke(main, ["--url", service.url, "delete", address.rpartition("/")[2]])
    assert (done.exit_code, service.asked) == (0, [f"DELETE {address}"])


def test_samples_take_every_parameter_of_the_api(service: Service, tmp_path: Path) -> None:
    service.answers["GET /samples"] = (200, "image/png", b"picture")
    words = ["samples", "-o", str(tmp_path / "x.png"), "--set", "truncation=0.5", "--set", "scale=4"]
    assert CliRunner().invoke(main, ["--url", service.url, *words]).exit_code == 0
    assert service.asked[0].endswith("&truncation=0.5&scale=4")
    for wrong, told in (("scale", "is not NAME=VALUE"), ("format=png", "of its own, --output")):
        done = CliRunner().invoke(main, ["--url", service.url, "samples", "--set", wrong])
        assert (done.exit_code, told in done.stderr) == (2, True), done.stderr
    assert len(service.asked) == 1
