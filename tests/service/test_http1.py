"""What HTTP/1.1 demands of a connection, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.service.serving import Server, serving
from tests.service.waiting import until

H2C = b"Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
WEBSOCKET = b"Host: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
BODY = b"GET /never HTTP/1.1\r\n\r\n"
"""Of uploads: as a request of its own it would be answered, too."""
LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
BROKEN = b"POST /never HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n"
MUCH = 64 * 2**20
"""Many times what the kernel's buffers hold."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Streams until the client leaves, or else tells what it was sent."""
    if scope["type"] != "http":
        return
    request = Request(scope, receive)
    if request.url.path == "/stream":
        await StreamingResponse(endless())(scope, receive, send)
        return
    told = f"[{request.method} {request.url.path} {(await request.body()).decode()}]"
    await Response(told)(scope, receive, send)


async def endless() -> AsyncIterator[bytes]:
    yield b"begun"
    await asyncio.Event().wait()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(app) as server:
        yield server


def told(answer: bytes) -> list[str]:
    """What the app says about each request."""
    return [line.partition("]")[0] for line in answer.decode().split("\r\n\r\n[")[1:]]


@pytest.mark.parametrize("upgrade", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize(
    ("length", "body"),
    [
        (b"Content-Length: %d\r\n" % len(BODY), BODY),
        (b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    ],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("is_whole", [True, False], ids=["one segment", "pieces"])
def test_request_that_asks_for_an_upgrade_is_served_with_its_body(
    server: Server, upgrade: bytes, length: bytes, body: bytes, *, is_whole: bool
) -> None:
    head = b"POST /upload?a=b HTTP/1.1\r\n" + upgrade + length + b"\r\n"
    sent = [head + body + LAST] if is_whole else [head[:70], head[70:], body, LAST]
    answer = server.answers(*sent)
    assert told(answer) == [f"POST /upload {BODY.decode()}", "GET /last "]
    assert b" 101 " not in answer


def test_requests_behind_those_that_ask_for_an_upgrade_are_served(server: Server) -> None:
    asking = b"GET /first HTTP/1.1\r\n" + H2C + b"\r\n"
    assert told(server.answers(asking * 2000 + LAST)) == ["GET /first "] * 2000 + ["GET /last "]


def test_connect_is_refused_once_after_the_requests_before_it(server: Server) -> None:
    connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n"
    answer = server.answers(LAST.replace(b"Connection: close\r\n", b"") + connect + b"\x16\x03 as TLS begins")
    first, second = answer.split(b"[GET /last ]")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert second.startswith(b"HTTP/1.1 405 ")
    assert b'"code":"method_not_allowed"' in second
    assert {b"allow: ", b"connection: close"} <= set(second.split(b"\r\n"))


def test_refusal_follows_the_head_of_a_response_without_a_body(server: Server) -> None:
    answer = server.answers(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + b"CONNECT a:1 HTTP/1.1\r\n\r\n")
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"405"]


@pytest.mark.parametrize(
    "pieces",
    [(STREAM,), (STREAM + LAST,), (STREAM, LAST), (STREAM, LAST, LAST), (STREAM, BROKEN)],
    ids=["nothing", "one segment", "another segment", "two", "a broken body"],
)
def test_client_that_leaves_a_stream_is_noticed_whatever_it_sent_behind_it(
    server: Server, pieces: tuple[bytes, ...]
) -> None:
    with server.connect() as connection:
        connection.sendall(pieces[0])
        while not connection.recv(4096).endswith(b"begun\r\n"):
            pass
        for piece in pieces[1:]:
            connection.sendall(piece)
    until(lambda: not server.server_state.tasks)
    assert not server.server_state.connections


@pytest.mark.parametrize(
    "sent",
    [
        (b"GET / HTTP/1.1\r\nx: %b\r\n\r\n" % (b"a" * 60_000)) * (MUCH // 60_000),
        b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (MUCH, bytes(MUCH)),
    ],
    ids=["requests", "a body"],
)
def test_no_more_than_some_is_read_behind_a_request_that_is_not_answered(server: Server, sent: bytes) -> None:
    before = set(server.server_state.connections)
    with ThreadPoolExecutor(1) as threads, server.connect() as connection:
        connection.sendall(STREAM)
        while not connection.recv(4096).endswith(b"begun\r\n"):
            pass
        (ours,) = server.server_state.connections - before
        sending = threads.submit(connection.sendall, sent)
        try:
            until(lambda: not is_read(ours))
            assert not sending.done()
        finally:
            connection.shutdown(socket.SHUT_RDWR)


def is_read(connection: Any) -> bool:
    """Whether a server reads on from this connection, as found between two steps of its event loop."""

    async def look() -> bool:
        return bool(connection.transport.is_reading())

    return asyncio.run_coroutine_threadsafe(look(), connection.loop).result(60)
