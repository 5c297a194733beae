"""Models from Python and from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dcgan import Client, DcganError
from dcgan.cli import main
from tests.dcgan.conftest import Service

DIGEST = "sha256:" + "ab" * 32


def test_models_are_listed_with_their_jobs_and_digests(service: Service) -> None:
    live = {
        "alias": "live",
        "digest": DIGEST,
        "job": "job_1",
        "follow": True,
        "revision": 3,
        "of_tomorrow": 1,
    }
    imported = {"alias": None, "digest": "sha256:" + "cd" * 32, "job": None}
    listed = {"items": [live, imported], "next": None}
    service.answers["GET /models"] = (200, "application/json", json.dumps(listed).encode())
    shown = CliRunner().invoke(main, ["--url", service.url, "models"]).output.splitlines()
    assert shown[1].split() == ["live", "3", "follows", "job_1", DIGEST]
    assert shown[2].split() == ["imported", imported["digest"]]


def test_promote_sends_every_option_and_prints_the_refusal(service: Service) -> None:
    problem = json.dumps({"code": "invalid_request", "detail": "Only a job can be followed."}).encode()
    service.answers["PUT /models/live"] = (422, "application/problem+json", problem)
    done = CliRunner().invoke(main, ["--url", service.url, "models", "promote", "live", DIGEST, "--follow"])
    assert (done.exit_code, done.output) == (1, "Error: Only a job can be followed. (invalid_request)\n")
    assert json.loads(service.bodies[-1]) == {"digest": DIGEST, "follow": True}


@pytest.mark.parametrize("generator", ["staging", "job_1", DIGEST[:15]])
def test_invalid_target_of_an_alias_is_not_sent(service: Service, generator: str) -> None:
    done = CliRunner().invoke(main, ["--url", service.url, "models", "promote", "live", generator])
    assert done.exit_code == 2
    assert "neither a job's id (job_…) nor a whole digest (sha256:…)" in done.output
    assert not service.asked


def test_export_writes_the_whole_file_or_none(service: Service, tmp_path: Path) -> None:
    problem = json.dumps({"code": "no_trainer", "detail": "No trainer is alive."}).encode()
    service.answers["GET /models/live/export"] = (503, "application/problem+json", problem)
    target = tmp_path / "g.onnx"
    with Client(service.url) as client:
        with pytest.raises(DcganError, match="No trainer"):
            client.export_model("live", target, "onnx")
        assert not list(tmp_path.iterdir())
        service.answers["GET /models/live/export"] = (200, "application/octet-stream", b"whole")
        client.export_model("live", target, "onnx")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]
    assert service.asked[-1] == "GET /models/live/export?format=onnx"


def test_format_of_an_export_may_differ_from_its_ending(service: Service, tmp_path: Path) -> None:
    service.answers["GET /models/live/export"] = (200, "application/octet-stream", b"whole")
    with Client(service.url) as client:
        client.export_model("live", tmp_path / "g.onnx", format="torch-export")
    assert service.asked == ["GET /models/live/export?format=torch-export"]


def export(service: Service, *words: str) -> Result:
    service.answers["GET /models/live/export"] = (200, "application/octet-stream", b"whole")
    return CliRunner().invoke(main, ["--url", service.url, "models", "export", "live", *words])


@pytest.mark.parametrize(
    ("name", "form"),
    [("g.onnx", "onnx"), ("g.PT2", "torch-export"), ("g.safetensors", "safetensors"), ("g", "safetensors")],
)
def test_file_extension_of_an_export_selects_its_format(
    service: Service, tmp_path: Path, name: str, form: str
) -> None:
    done = export(service, "-o", str(tmp_path / name))
    assert (done.exit_code, done.output) == (0, f"{tmp_path / name}\n")
    assert service.asked == [f"GET /models/live/export?format={form}"]


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_export_to_stdout_is_bytes_and_nothing_else_and_replaces_no_device(
    service: Service, tmp_path: Path, name: str
) -> None:
    service.answers["GET /models/live/export"] = (200, "application/octet-stream", b"weights")
    command = [sys.executable, "-P", "-m", "dcgan.cli", "--url", service.url]
    command += ["models", "export", "live", "-o", name]
    piped = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    assert (piped.stdout, piped.stderr) == (b"weights", b"")
    with (tmp_path / "redirected").open("wb") as redirected:
        subprocess.run(command, stdout=redirected, check=True, cwd=tmp_path)
    assert (tmp_path / "redirected").read_bytes() == b"weights"
    assert Path("/dev/stdout").is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["redirected"]


def test_export_over_a_link_replaces_what_it_points_to(service: Service, tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to("file.onnx")
    assert export(service, "-o", str(tmp_path / "link.onnx")).exit_code == 0
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "file.onnx").is_file()


def test_format_that_contradicts_the_file_extension_is_refused(service: Service) -> None:
    done = export(service, "-o", "g.onnx", "--format", "safetensors")
    assert done.exit_code == 2
    assert "g.onnx would hold safetensors, but its ending says onnx." in done.output
    assert not service.asked


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (".", "Is a directory"),
        ("there", "Is a directory"),
        ("no/g", "No such file or directory"),
        ("file/g", "Not a directory"),
    ],
)
def test_unwritable_export_is_reported_before_the_request(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    Path("file").touch()
    done = export(service, "-o", place)
    assert (done.exit_code, done.output) == (1, f"Error: {place}: {told}\n")
    assert not service.asked


def test_checkpoint_is_uploaded_unchanged(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "g.safetensors"
    file.write_bytes(bytes(range(256)) * 1000)
    service.answers["POST /models"] = (201, "application/json", json.dumps({"digest": DIGEST}).encode())
    done = CliRunner().invoke(main, ["--url", service.url, "models", "import", str(file)])
    assert (done.exit_code, done.output) == (0, f"{DIGEST}\n")
    assert service.bodies == [file.read_bytes()]
