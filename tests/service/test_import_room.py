"""Imported generators, and what has arrived of others, share a limited room."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from contract.errors import ServiceError
from contract.imports import Import, add_import
from contract.keys import IMPORTS
from service.import_room import ImportRoom
from service.settings import Settings
from service.store import Store
from tests.service.playing import Trainer, Worker
from tests.service.problems import refused
from tests.service.sending import checkpoint, left, send
from tests.service.serving import client_of, serve
from tests.service.waiting import until

BINARY = "application/octet-stream"


@contextmanager
def sending(url: str, head: str, body: bytes = b"") -> Iterator[socket.socket]:
    """An import of which only this has been sent so far."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(f"POST /models HTTP/1.1\r\nHost: {place.netloc}\r\n{head}\r\n\r\n".encode() + body)
        yield connection


def answered(connection: socket.socket, rest: bytes = b"") -> tuple[int, str | None]:
    """The status of the answer once the rest has been sent, and its code if it is a refusal."""
    connection.sendall(rest)
    answer = HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read()).get("code")


class Kept(Store):
    """Knows what is kept, without a Redis."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes

    async def imports(self) -> dict[str, Import]:
        return {f"sha256:{size}": Import(bytes=size, imported_ms=1) for size in self.sizes}


@pytest.mark.parametrize("head", ["Content-Length: 500", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("held", [0, 1], ids=["disabled", "full"])
def test_import_for_which_there_is_no_room_is_refused_before_it_is_received(
    worker: Worker, head: str, held: int
) -> None:
    worker.redis.delete(IMPORTS)
    assert worker.run(add_import("sha256:" + "1" * 64, Import(bytes=held, imported_ms=1)))
    settings = Settings(data_root=worker.volume.root, redis_url=worker.url, imports_bytes=held)
    with serve(settings) as url, sending(url, head) as connection:
        assert answered(connection) == (507, "imports_full")
    assert left(worker.volume) == []


@pytest.mark.parametrize("is_declared", [True, False])
def test_what_has_arrived_of_a_file_takes_room(worker: Worker, trainer: Trainer, is_declared: bool) -> None:
    content = checkpoint(images_seen=20)
    worker.redis.delete(IMPORTS)
    settings = Settings(
        data_root=worker.volume.root, redis_url=worker.url, imports_bytes=2 * len(content) - 2
    )
    head = f"Content-Length: {len(content)}" if is_declared else "Transfer-Encoding: chunked"
    piece = content[:-1] if is_declared else b"%x\r\n%b\r\n" % (len(content) - 1, content[:-1])
    with client_of(settings) as client:
        with sending(str(client.base_url), head, piece):
            until(lambda: left(worker.volume))
            answer = send(client, content)
            assert refused(answer, 507, "imports_full")["retryable"]
            assert answer.headers["retry-after"]
        until(lambda: not left(worker.volume))
        assert client.delete(send(client, content).headers["location"]).status_code == 204


def test_files_that_hardly_arrive_keep_no_room_from_others(worker: Worker, trainer: Trainer) -> None:
    content = checkpoint(images_seen=22)
    worker.redis.delete(IMPORTS)
    settings = Settings(data_root=worker.volume.root, redis_url=worker.url, imports_bytes=len(content) + 3)
    head = f"Content-Length: {len(content)}"
    with client_of(settings) as client, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(sending(str(client.base_url), head, content[:1]))
        until(lambda: left(worker.volume))
        assert client.delete(send(client, content).headers["location"]).status_code == 204


def test_of_files_that_do_not_fit_together_one_is_refused(worker: Worker, trainer: Trainer) -> None:
    contents = [checkpoint(images_seen=number) for number in (30, 31)]
    size = len(contents[0])
    worker.redis.delete(IMPORTS)
    settings = Settings(data_root=worker.volume.root, redis_url=worker.url, imports_bytes=2 * size - 1)
    with serve(settings) as url, ExitStack() as stack:
        one, other = (
            stack.enter_context(sending(url, f"Content-Length: {size}", content[:-1])) for content in contents
        )
        until(lambda: len(left(worker.volume)) == 2)
        assert answered(one, contents[0][-1:]) == (201, None)
        assert answered(other, contents[1][-1:]) == (507, "imports_full")


def test_file_that_is_refused_leaves_its_room_to_others() -> None:
    async def fill() -> None:
        room = ImportRoom(Kept(10), limit=20)
        async with room.receiving(0) as one, room.receiving(8) as other:
            await room.take(one, 6)
            await room.take(other, 4)
            with pytest.raises(ServiceError) as refusal:
                await room.take(one, 1)
            assert refusal.value.retry_after_seconds
            await room.take(other, 4)

    asyncio.run(fill())


def test_retrying_is_advised_only_if_what_is_being_received_is_in_the_way() -> None:
    async def fill() -> list[float | None]:
        room = ImportRoom(Kept(12), limit=20)
        async with room.receiving(0) as file:
            await room.take(file, 1)
            return [await advice(room, size) for size in (8, 9)]

    async def advice(room: ImportRoom, size: int) -> float | None:
        with pytest.raises(ServiceError) as refusal:
            async with room.receiving(size):
                pass
        return refusal.value.retry_after_seconds

    in_the_way, too_large = asyncio.run(fill())
    assert in_the_way
    assert too_large is None


def test_room_of_what_was_imported_stays_taken() -> None:
    async def fill() -> None:
        store = Kept()
        room = ImportRoom(store, limit=20)
        async with room.receiving(0) as later:
            async with room.receiving(0) as file:
                await room.take(file, 15)
                store.sizes = (15,)
            await room.take(later, 5)
            with pytest.raises(ServiceError):
                await room.take(later, 1)
            store.sizes = ()  # it was deleted
            await room.take(later, 20)

    asyncio.run(fill())


def test_file_without_a_length_may_have_the_room_that_is_left(worker: Worker, trainer: Trainer) -> None:
    content = checkpoint(images_seen=21)
    worker.redis.delete(IMPORTS)
    settings = Settings(data_root=worker.volume.root, redis_url=worker.url, imports_bytes=len(content))
    with client_of(settings) as client:
        for body, status in ((content + b"\0", 507), (content, 201)):
            pieces = (body[start : start + 100] for start in range(0, len(body), 100))
            answer = client.post("/models", content=pieces, headers={"Content-Type": BINARY})
            assert answer.status_code == status, answer.text
        assert client.delete(answer.headers["location"]).status_code == 204
    assert left(worker.volume) == []
