"""`dcgan upload` and `dcgan datasets`: the id of an upload is never lost."""

import json
import os
from pathlib import Path
from typing import NoReturn

import pytest
from click.testing import CliRunner, Result

from dcgan import Client
from dcgan.cli import main
from tests.dcgan.conftest import Service


def upload(service: Service, tmp_path: Path, *options: str) -> Result:
    (tmp_path / "cats.zip").write_bytes(b"pictures")
    service.answers["POST /datasets"] = (202, "application/json", b'{"id": "ds_1", "state": "queued"}')
    return CliRunner().invoke(main, ["--url", service.url, "upload", str(tmp_path / "cats.zip"), *options])


def test_upload_prints_only_the_id(service: Service, tmp_path: Path) -> None:
    service.answers["GET /datasets/ds_1"] = (200, "application/json", b'{"id": "ds_1", "state": "ready"}')
    done = upload(service, tmp_path)
    assert (done.exit_code, done.stdout) == (0, "ds_1\n")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"images": 5000, "rejected_images": 0, "rejected": [], "duplicate_images": 0}, "5,000 pictures"),
        (
            {
                "images": 12,
                "rejected_images": 138,
                "rejected": [
                    {"name": "p\x1b 1.jpg", "reason": "It is damaged."},
                    {"name": "b", "reason": "."},
                ],
                "duplicate_images": 3,
            },
            "12 pictures; 138 files rejected, the first: p\ufffd 1.jpg: It is damaged; 3 duplicates",
        ),
        ({"images": 1, "duplicate_images": 1}, "1 picture; 1 duplicate"),
    ],
)
def test_upload_says_what_was_found_in_the_archive(
    service: Service, tmp_path: Path, found: dict[str, object], told: str
) -> None:
    ready = json.dumps({"id": "ds_1", "state": "ready", **found}).encode()
    service.answers["GET /datasets/ds_1"] = (200, "application/json", ready)
    done = upload(service, tmp_path)
    assert (done.exit_code, done.stdout) == (0, "ds_1\n")
    assert done.stderr.splitlines()[1:] == [told]


def test_id_is_reported_when_the_preparation_cannot_be_followed(service: Service, tmp_path: Path) -> None:
    done = upload(service, tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("ds_1 is uploaded")


def test_ctrl_c_leaves_the_dataset_being_prepared(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "wait_dataset", interrupt)
    done = upload(service, tmp_path)
    assert (done.exit_code, done.stdout) == (130, "")
    assert "ds_1" in done.stderr
    assert "`dcgan datasets`" in done.stderr


def test_pipe_is_refused_without_blocking(service: Service, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for words in (("upload",), ("models", "import")):
        done = CliRunner().invoke(main, ["--url", service.url, *words, str(tmp_path / "pipe")])
        assert done.exit_code == 1
        assert f"{tmp_path / 'pipe'} is not a regular file" in done.stderr


@pytest.mark.parametrize(
    ("stem", "name"), [("caf\udce9", "caf%EF%BF%BD"), ("n" * 240, "n" * 200), ("é" * 120, "%C3%A9" * 120)]
)
def test_default_name_is_what_the_service_accepts(
    service: Service, tmp_path: Path, stem: str, name: str
) -> None:
    archive = tmp_path / f"{stem}.zip"
    archive.write_bytes(b"pictures")
    service.answers["POST /datasets"] = (202, "application/json", b'{"id": "ds_1", "state": "queued"}')
    with Client(service.url) as client:
        client.upload_dataset(archive)
    assert service.asked == [f"POST /datasets?name={name}"]


def test_given_name_that_is_not_utf_8_is_reported(service: Service, tmp_path: Path) -> None:
    done = upload(service, tmp_path, "--name", "caf\udce9")
    assert done.exit_code == 1
    assert "cannot be sent: it is not UTF-8. (not_sendable)" in done.stderr


def test_directory_is_to_be_zipped_first(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my cats").mkdir()
    done = CliRunner().invoke(main, ["--url", service.url, "upload", "my cats"])
    assert done.exit_code == 2
    assert "my cats is a directory; zip it first: `zip -r pictures.zip 'my cats'`" in done.stderr
    assert not service.asked


def test_datasets_are_listed(service: Service) -> None:
    ready = {"id": "ds_2", "state": "ready", "images": 5000, "name": "cats"}
    listed = {"items": [ready, {"id": "ds_1", "state": "queued"}], "next": None}
    service.answers["GET /datasets"] = (200, "application/json", json.dumps(listed).encode())
    shown = CliRunner().invoke(main, ["--url", service.url, "datasets"]).stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [["ds_2", "ready", "5,000", "cats"], ["ds_1", "queued"]]
