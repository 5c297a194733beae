"""What is sent is the whole file, or nothing that the service would accept."""

import errno
import os
import sys
from io import FileIO, StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from dcgan import Client, DcganError
from dcgan.connection import Connection
from dcgan.files import CHUNK_BYTES, is_stdout, opened, written
from tests.dcgan.conftest import Service

SIZE = 3 * CHUNK_BYTES


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.zip"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.mark.parametrize("now", [SIZE - 1, SIZE + 1, 5 * SIZE, CHUNK_BYTES, 0])
def test_file_that_changes_while_it_is_sent_is_never_sent_whole(file: Path, now: int) -> None:
    with opened(file) as (contents, size):
        received = len(next(contents))
        os.truncate(file, now)
        with pytest.raises(DcganError, match="changed while it was being sent") as caught:
            for chunk in contents:
                received += len(chunk)
    assert caught.value.code == "file_changed"
    assert received < size == SIZE


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, SIZE])
def test_unchanged_file_is_sent_whole(file: Path, size: int) -> None:
    os.truncate(file, size)
    with opened(file) as (contents, announced):
        assert (b"".join(contents), announced) == (bytes(size), size)


@pytest.mark.parametrize("method", ["upload_dataset", "import_model"])
@pytest.mark.parametrize("now", [1, 5 * SIZE])
def test_changed_file_is_reported_by_the_client(
    service: Service, file: Path, monkeypatch: pytest.MonkeyPatch, method: str, now: int
) -> None:
    send = Connection.send

    def send_later(self: Connection, *words: Any, **more: Any) -> httpx.Response:
        os.truncate(file, now)
        return send(self, *words, **more)

    monkeypatch.setattr(Connection, "send", send_later)
    with Client(service.url) as client, pytest.raises(DcganError) as caught:
        getattr(client, method)(file)
    assert caught.value.code == "file_changed"


def test_file_that_cannot_be_read_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} at {size} bytes")

    monkeypatch.setattr(Path, "open", lambda path, mode: Failing(path, mode))
    with opened(file) as (contents, _), pytest.raises(OSError, match="Input/output error") as caught:
        next(contents)
    assert caught.value.filename == str(file)


def test_file_is_not_stdout_if_that_is_no_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = file.open()
    closed.close()
    for stdout in (None, closed, StringIO(), object()):
        monkeypatch.setattr(sys, "stdout", stdout)
        assert not is_stdout(file)


def test_stdout_that_does_not_exist_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(OSError, match="Bad file descriptor: '-'"), written(Path("-")):
        pass
