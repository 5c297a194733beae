"""A generator is exported as the file that samples are rendered from, whole or in part."""

import hashlib
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.durable import write_durably
from contract.forgetting import forget_job
from contract.imports import Import, add_import
from contract.job import CheckpointFact, State
from contract.owning import leave, report
from contract.volume import Volume
from service.exporting import exported
from service.stored_files import Digests, StoredFile
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.waiting import until

CONTENT = bytes(range(256)) * 600


@pytest.fixture
def kept(client: httpx.Client, worker: Worker, new_job: Callable[[], str], volume: Volume) -> CheckpointFact:
    """A checkpoint whose file is on the volume."""
    job = new_job()
    lease = worker.claim()
    content = CONTENT + job.encode()
    fact = CheckpointFact(
        file="1.safetensors",
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        images_seen=1,
        bytes=len(content),
    )
    write_durably(volume.checkpoint(job, fact.file), content)
    worker.run(report(lease, 1, fields={"checkpoint": fact.model_dump_json()}, checkpoint=fact))
    worker.run(leave(lease, State.SUCCEEDED))
    return fact


def test_exported_file_is_the_checkpoint(client: httpx.Client, kept: CheckpointFact) -> None:
    answer = client.get(f"/models/{kept.digest}/export?format=safetensors")
    assert f"sha256:{hashlib.sha256(answer.content).hexdigest()}" == kept.digest
    assert answer.headers["etag"] == f'"{kept.digest}"'
    assert answer.headers["cache-control"].endswith("immutable")
    assert answer.headers["content-disposition"] == f'attachment; filename="{kept.digest[7:23]}.safetensors"'
    assert int(answer.headers["content-length"]) == kept.bytes


def test_export_by_alias_names_the_pinned_url_in_content_location(
    client: httpx.Client, kept: CheckpointFact
) -> None:
    client.put("/models/mine", json={"digest": kept.digest}).raise_for_status()
    for reference in ("mine", "latest"):
        answer = client.get(f"/models/{reference}/export")
        assert answer.headers["cache-control"] == "no-cache"
        assert client.get(answer.headers["content-location"]).content == answer.content


def test_file_that_the_client_has_is_not_sent_again(client: httpx.Client, kept: CheckpointFact) -> None:
    answer = client.get("/models/latest/export", headers={"If-None-Match": f'"{kept.digest}"'})
    assert (answer.status_code, answer.content) == (304, b"")
    head = client.head("/models/latest/export")
    assert (head.status_code, head.content, int(head.headers["content-length"])) == (200, b"", kept.bytes)


@pytest.mark.parametrize("asked", [{}, {"Range": "bytes=5-"}])
def test_file_is_sent_only_if_it_matches_if_match(
    client: httpx.Client, kept: CheckpointFact, asked: dict[str, str]
) -> None:
    whole, etag = client.get("/models/latest/export").content, f'"{kept.digest}"'
    for meant in (etag, "*", f'"other", {etag}'):
        answer = client.get("/models/latest/export", headers={"If-Match": meant} | asked)
        assert whole.endswith(answer.raise_for_status().content)
    for other in ('"other"', f"W/{etag}", ""):
        answer = client.get("/models/latest/export", headers={"If-Match": other} | asked)
        assert etag in refused(answer, 412, "precondition_failed")["detail"]
    both = {"If-Match": '"other"', "If-None-Match": etag} | asked
    refused(client.get("/models/latest/export", headers=both), 412, "precondition_failed")
    assert client.head("/models/latest/export", headers={"If-Match": '"other"'}).status_code == 412


def test_range_request_gets_only_that_part(client: httpx.Client, kept: CheckpointFact) -> None:
    whole = client.get("/models/latest/export").content
    part = client.get("/models/latest/export", headers={"Range": "bytes=100-65999"})
    assert (part.status_code, part.content) == (206, whole[100:66000])
    head = client.head("/models/latest/export", headers={"Range": "bytes=100-65999"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole)))
    beyond = client.get("/models/latest/export", headers={"Range": "bytes=999999999-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")


@pytest.mark.parametrize("asked", ["bytes=5-", "bytes=999999999-"])
def test_part_is_sent_only_of_the_very_file_that_the_client_has_begun(
    client: httpx.Client, kept: CheckpointFact, volume: Volume, asked: str
) -> None:
    whole = client.get("/models/latest/export")
    job = client.get("/models/latest").json()["job"]
    date = formatdate(volume.checkpoint(job, kept.file).stat().st_mtime, usegmt=True)
    for begun in ('"other"', f'W/"{kept.digest}"', date):
        answer = client.get("/models/latest/export", headers={"Range": asked, "If-Range": begun})
        assert (answer.status_code, answer.content) == (200, whole.content)
    same = {"Range": "bytes=5-", "If-Range": f'"{kept.digest}"'}
    assert client.get("/models/latest/export", headers=same).content == whole.content[5:]
    assert "last-modified" not in whole.headers


@pytest.mark.parametrize(
    "asked",
    [
        "pages=1-2",
        "bytes",
        "bytes=x-",
        "bytes=1",
        "",
        "bytes=-",
        "bytes=5-2",
        "bytes=0-1,-",
        f"bytes={'9' * 5000}-",
    ],
)
def test_invalid_range_is_ignored(client: httpx.Client, kept: CheckpointFact, asked: str) -> None:
    answer = client.get("/models/latest/export", headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, kept.bytes)


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-1,900000-900001", slice(0, 2)),
        ("bytes=900000-, -5", slice(-5, None)),
        ("bytes=7-99999999999999999999", slice(7, None)),
        ("bytes=-999999999", slice(None)),
    ],
)
def test_existing_part_of_the_requested_ranges_is_sent(
    client: httpx.Client, kept: CheckpointFact, asked: str, part: slice
) -> None:
    whole = client.get("/models/latest/export").content
    answer = client.get("/models/latest/export", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, whole[part])


@pytest.mark.parametrize("asked", ["bytes=-0", "bytes=900000-", "bytes=900000-900001,-0"])
def test_ranges_entirely_beyond_the_file_are_refused(
    client: httpx.Client, kept: CheckpointFact, asked: str
) -> None:
    answer = client.get("/models/latest/export", headers={"Range": asked})
    assert f"{kept.bytes:,} bytes" in refused(answer, 416, "range_not_satisfiable")["detail"]
    assert answer.headers["content-range"] == f"bytes */{kept.bytes}"
    other = client.get("/models/latest/export", headers={"Range": asked, "If-Range": '"other"'})
    assert (other.status_code, len(other.content)) == (200, kept.bytes)
    same = client.get("/models/latest/export", headers={"Range": asked, "If-Range": other.headers["etag"]})
    assert same.status_code == 416


def test_corrupt_or_missing_file_is_not_sent(
    client: httpx.Client, volume: Volume, kept: CheckpointFact
) -> None:
    client.get("/models/latest/export").raise_for_status()
    job = client.get("/models/latest").json()["job"]
    path = volume.checkpoint(job, kept.file)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    refused(client.get("/models/latest/export"), 500, "checkpoint_unreadable")
    path.unlink()
    refused(client.get("/models/latest/export"), 500, "checkpoint_unreadable")


def test_file_deleted_by_another_gateway_is_not_found_or_sent_from_where_it_was_imported(
    client: httpx.Client,
    worker: Worker,
    volume: Volume,
    kept: CheckpointFact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 60.0)
    address = f"/models/{kept.digest}/export"
    content = client.get(address).content
    job = client.get("/models/latest").json()["job"]
    assert worker.run(forget_job(job))[0] == "forgotten"
    volume.checkpoint(job, kept.file).unlink()
    refused(client.get(address), 404, "model_not_found")
    write_durably(volume.imported(kept.digest), content)
    assert worker.run(add_import(kept.digest, Import(bytes=kept.bytes, imported_ms=1)))
    assert client.get(address).content == content
    assert client.delete(f"/models/{kept.digest}").status_code == 204


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ({}, 200, slice(None)),
        ({"Range": "bytes=100-65999"}, 206, slice(100, 66000)),
        ({"If-Range": '"other"', "Range": "bytes=5-"}, 200, slice(None)),
    ],
)
@pytest.mark.parametrize("becomes", ["deleted", "another"])
def test_file_is_sent_as_it_was_when_hashed(
    client: httpx.Client,
    volume: Volume,
    kept: CheckpointFact,
    monkeypatch: pytest.MonkeyPatch,
    asked: dict[str, str],
    status: int,
    part: slice,
    becomes: str,
) -> None:
    job = client.get("/models/latest").json()["job"]
    path = volume.checkpoint(job, kept.file)
    content = path.read_bytes()

    async def then_gone(*asked: Any) -> StoredFile:
        file = await exported(*asked)
        path.unlink()
        if becomes == "another":
            path.write_bytes(b"another")
        return file

    monkeypatch.setattr("service.routes.models_files.exported", then_gone)
    answer = client.get("/models/latest/export", headers=asked)
    assert (answer.status_code, answer.content) == (status, content[part])
    path.write_bytes(content)
    head = client.head("/models/latest/export", headers=asked)
    assert (head.status_code, head.headers["content-length"]) == (200, str(kept.bytes))


def test_file_is_closed_whatever_is_answered(
    client: httpx.Client, volume: Volume, kept: CheckpointFact, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[StoredFile] = []
    open_file = Digests.open

    async def note(digests: Digests, path: Path) -> StoredFile:
        opened.append(await open_file(digests, path))
        return opened[-1]

    monkeypatch.setattr(Digests, "open", note)
    address, etag = "/models/latest/export", f'"{kept.digest}"'
    conditions: tuple[dict[str, str], ...] = (
        {},
        {"Range": "bytes=5-9,20-"},
        {"Range": "bytes=9999999-"},
        {"If-None-Match": etag},
        {"If-Match": '"x"'},
    )
    answers = [client.get(address, headers=headers).status_code for headers in conditions]
    assert answers == [200, 206, 416, 304, 412]
    assert client.head(address).status_code == 200
    path = volume.checkpoint(client.get("/models/latest").json()["job"], kept.file)
    path.write_bytes(b"damaged")
    refused(client.get(address), 500, "checkpoint_unreadable")
    assert len(opened) == len(answers) + 2
    until(lambda: all(file.content.closed for file in opened))


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("nobody/export", 404, "model_not_found"),
        ("latest/export?format=pickle", 422, "invalid_request"),
        ("Nobody/export", 422, "invalid_request"),
        ("latest/export?formt=onnx", 422, "invalid_request"),
    ],
)
def test_unknown_model_format_or_parameter_is_refused(
    client: httpx.Client, kept: CheckpointFact, address: str, status: int, code: str
) -> None:
    refused(client.get(f"/models/{address}"), status, code)
