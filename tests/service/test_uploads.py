"""POST /datasets: what is accepted, what is refused, and that a refusal leaves nothing behind."""

import json
import socket
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from contract.keys import CELERY_PREFIX, KEYS, TASK_OF_ROLE, RecordKind, Role
from contract.volume import Volume
from service.limits import MAX_JSON_BYTES
from service.settings import Settings
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.serving import serve
from tests.service.waiting import until

LIMIT = 100_000
BOUNDARY = "frontier"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="x.zip"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def kept(volume: Volume) -> Callable[[], set[Path]]:
    """Returns every path in the directory of datasets."""
    return lambda: set(volume.datasets.rglob("*"))


@pytest.fixture
def nothing_kept(kept: Callable[[], set[Path]], client: httpx.Client) -> Iterator[None]:
    """Asserts that the test leaves no file and no record."""
    before = kept()
    yield
    assert kept() == before
    assert client.get("/datasets").json()["items"] == []


def test_a_raw_body_becomes_a_queued_dataset(client: httpx.Client, volume: Volume, pictures: bytes) -> None:
    answer = client.post("/datasets?name=cats", content=pictures)
    dataset = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == dataset["links"]["self"] == f"/datasets/{dataset['id']}"
    assert (dataset["state"], dataset["name"], dataset["queue_position"]) == ("queued", "cats", 1)
    assert dataset["bytes"] == len(pictures)
    assert volume.original(dataset["id"]).read_bytes() == pictures
    assert json.loads(volume.spec(dataset["id"]).read_text())["name"] == "cats"
    assert not list((volume.datasets / ".incoming").iterdir())


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_form_is_parsed_whatever_the_size_of_its_chunks(
    client: httpx.Client, volume: Volume, pictures: bytes, chunk: int
) -> None:
    body = form(part("name", b"cats"), part("file", pictures))
    pieces = (body[at : at + chunk] for at in range(0, len(body), chunk))
    dataset = client.post("/datasets", content=pieces, headers=FORM).json()
    assert dataset["name"] == "cats"
    assert volume.original(dataset["id"]).read_bytes() == pictures


def test_an_ordinary_form_upload_works(client: httpx.Client, volume: Volume, pictures: bytes) -> None:
    dataset = client.post("/datasets", files={"file": ("x.zip", pictures, "application/zip")}).json()
    assert volume.original(dataset["id"]).read_bytes() == pictures


def test_upload_wakes_the_preparers(client: httpx.Client, worker: Worker, pictures: bytes) -> None:
    client.post("/datasets", content=pictures)
    rung = until(lambda: worker.redis.lpop(CELERY_PREFIX + "prepare"))
    assert json.loads(str(rung))["headers"]["task"] == TASK_OF_ROLE[Role.PREPARE]


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "body_empty"), (b"hello", "not_a_zip"), (b"PK\3\4" + b"\0" * 64, "not_a_zip")],
)
@pytest.mark.parametrize("as_form", [False, True])
def test_body_that_is_no_archive_is_refused(
    client: httpx.Client, content: bytes, code: str, *, as_form: bool
) -> None:
    body, headers = (form(part("file", content)), FORM) if as_form else (content, {})
    refused(client.post("/datasets", content=body, headers=headers), 422, code)


@pytest.mark.usefixtures("nothing_kept")
def test_a_zip_without_images_is_refused(client: httpx.Client) -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "no pictures here")
    problem = refused(client.post("/datasets", content=buffer.getvalue()), 422, "no_images")
    assert "PNG" in problem["detail"]


@pytest.mark.usefixtures("nothing_kept")
def test_a_declared_length_over_the_limit_is_refused_before_the_body_is_read(gateway_url: str) -> None:
    place = urlsplit(gateway_url)
    head = f"POST /datasets HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {10**12}\r\n\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(head.encode())
        answer = connection.makefile("rb").read()  # to the end, as the gateway closes the connection
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in answer


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("as_form", [False, True])
def test_a_body_without_a_length_is_stopped_at_the_limit(client: httpx.Client, *, as_form: bool) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        if as_form:
            yield part("file", b"")[:-2]
        while sent < 100 * 2**20:
            sent += 10_000
            yield b"\0" * 10_000

    answer = client.post("/datasets", content=endless(), headers=FORM if as_form else {})
    problem = refused(answer, 413, "body_too_large")
    assert f"{LIMIT:,}" in problem["detail"]
    assert sent < 100 * 2**20


@pytest.mark.usefixtures("nothing_kept")
def test_a_form_cannot_hide_more_than_the_limit_outside_its_file(
    client: httpx.Client, pictures: bytes
) -> None:
    body = form(part("file", pictures)) + b"\0" * (LIMIT + 70_000)
    pieces = (body[at : at + 10_000] for at in range(0, len(body), 10_000))
    refused(client.post("/datasets", content=pieces, headers=FORM), 413, "body_too_large")


def test_archive_of_exactly_the_limit_is_accepted(client: httpx.Client, pictures: bytes) -> None:
    padded = b"\0" * (LIMIT - len(pictures)) + pictures
    assert client.post("/datasets", content=padded).status_code == 202
    assert client.post("/datasets", files={"file": padded}).status_code == 202


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (form(part("name", b"cats")), "file"),
        (form(part("file", b"x"), part("file", b"x")), "file"),
        (form(part("flie", b"x")), "flie"),
        (form(part("name", b"n" * 1000), part("file", b"x")), "name"),
        (form(part("name", b"n" * 201), part("file", b"x")), "name"),
        (form(part("file", b"x"), part("name", b"n" * 800)), "name"),
    ],
)
def test_refusal_of_a_form_names_its_wrong_part(client: httpx.Client, body: bytes, pointer: str) -> None:
    problem = refused(client.post("/datasets", content=body, headers=FORM), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (part("file", b"x"), FORM["content-type"]),
        (b"no form at all", FORM["content-type"]),
        (b"x", "multipart/form-data"),
        (b"x", f"multipart/form-data; boundary={'x' * 1000}"),
    ],
)
def test_a_broken_form_is_refused(client: httpx.Client, body: bytes, content_type: str) -> None:
    answer = client.post("/datasets", content=body, headers={"content-type": content_type})
    refused(answer, 422, "invalid_request")


@pytest.mark.usefixtures("nothing_kept")
def test_another_media_type_is_refused(client: httpx.Client, pictures: bytes) -> None:
    answer = client.post("/datasets", content=pictures, headers={"content-type": "image/png"})
    assert "application/zip" in refused(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("query", ["nmae=cats", "name=" + "n" * 201])
def test_a_wrong_parameter_is_refused(client: httpx.Client, pictures: bytes, query: str) -> None:
    problem = refused(client.post(f"/datasets?{query}", content=pictures), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == query.partition("=")[0]


@pytest.mark.usefixtures("nothing_kept")
def test_client_that_disconnects_during_an_upload_leaves_nothing_behind(
    gateway_url: str, volume: Volume
) -> None:
    place = urlsplit(gateway_url)
    head = f"POST /datasets HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 90000\r\n\r\n"
    incoming = volume.datasets / ".incoming"
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(head.encode() + b"\0" * 1000)
        until(lambda: list(incoming.iterdir()))
    until(lambda: not list(incoming.iterdir()))


def test_record_holds_the_name_and_size_of_the_archive(
    client: httpx.Client, worker: Worker, pictures: bytes
) -> None:
    dataset_id = client.post("/datasets", content=pictures).json()["id"]
    fields = worker.redis.hgetall(KEYS[RecordKind.DATASET].record_of + dataset_id)
    assert json.loads(fields["spec"]) == {"name": None, "bytes": len(pictures)}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/dataset", 404, "not_found"),
        ("POST", "/datasets/", 404, "not_found"),
        ("PUT", "/jobs", 405, "method_not_allowed"),
    ],
)
def test_large_upload_to_a_wrong_address_is_told_so(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    refused(client.request(method, path, content=bytes(MAX_JSON_BYTES + 1)), status, code)


def test_partial_upload_of_a_killed_gateway_is_removed_at_start(redis_url: str, tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    volume.lay_out()
    incoming = volume.incoming_uploads
    (incoming / "half.zip").write_bytes(b"PK")
    with serve(Settings(data_root=tmp_path, redis_url=redis_url)):
        until(lambda: not list(incoming.iterdir()))
