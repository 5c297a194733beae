"""Heads that are too large are refused, and what does not end around requests ends its connection."""

import socket
from contextlib import suppress

import httpx
import pytest

from service.large_heads import MAX_HEAD_BYTES
from tests.service.answering import HEAD, UPLOAD
from tests.service.problems import refused
from tests.service.serving import Server


@pytest.fixture(autouse=True)
def _lingers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is refused amid a head has time to send the rest and to read why, however busy the machine is."""
    monkeypatch.setattr("service.large_heads._LINGER_SECONDS", 60)


def answers_until_refused(server: Server, *pieces: bytes) -> bytes:
    """All that it sends to a client that sends these, and leaves when it has read that it is refused."""
    received = b""
    with server.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
        while b"headers_too_large" not in received:
            received += (more := connection.recv(2**16))
            assert more, received
        connection.shutdown(socket.SHUT_WR)
        return received + connection.makefile("rb").read()


def is_refused(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    return (
        head.startswith(b"HTTP/1.1 431 ")
        and b"\r\nconnection: close" in head.lower()
        and b"\r\ncontent-type: application/problem+json" in head.lower()
        and b'"code":"headers_too_large"' in body
    )


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize(
    "request_parts",
    [
        ("/samples?seed=1", {"accept": "a" * MAX_HEAD_BYTES}),
        ("/samples?seed=1", {f"x-{number}": "a" * 100 for number in range(700)}),
        ("/samples?seed=1", {"accept": "a," * 2**21}),
    ],
    ids=["one header", "many headers", "4 MiB"],
)
def test_gateway_refuses_large_headers_as_it_refuses_everything(
    client: httpx.Client, method: str, request_parts: tuple[str, dict[str, str]]
) -> None:
    path, headers = request_parts
    answer = client.request(method, path, headers=headers)
    problem = refused(answer, 431, "headers_too_large")
    assert f"{MAX_HEAD_BYTES:,}" in problem["detail"]
    assert answer.headers["connection"] == "close"


def test_head_of_the_largest_size_is_accepted(server: Server) -> None:
    padding = b"x: %b\r\n" % (b"a" * (MAX_HEAD_BYTES - 100))
    answer = server.answers(HEAD + padding + b"\r\n" + HEAD + b"connection: close\r\n\r\n")
    assert answer.count(b"short") == 2


def test_any_number_of_heads_is_accepted_though_they_arrive_in_parts(server: Server) -> None:
    head = HEAD + b"x: %b\r\n\r\n" % (
        b"a" * (MAX_HEAD_BYTES // 2 - 100)
    )  # no divisor of what is read at once
    answer = server.answers(head * 100 + HEAD + b"connection: close\r\n\r\n")
    assert answer.count(b"short") == 101


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * MAX_HEAD_BYTES),),
        (HEAD, *[b"x: y\r\n" * 50] * 250, b"\r\n"),
    ],
    ids=["at once", "in pieces"],
)
def test_large_head_is_refused_and_its_connection_closed(
    server: Server, pieces: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.large_heads._LINGER_SECONDS", 0.1)
    assert is_refused(server.answers(*pieces))


@pytest.mark.parametrize(
    "pieces",
    [
        (b"GET /", *[b"a" * 1000] * 500),
        (HEAD, b"x: ", *[b"a" * 1000] * 500),
        (HEAD, *[b"x: y\r\n" * 10] * 10_000),
        (UPLOAD, b"content-length: 1000000\r\nx: %b\r\n\r\n" % (b"a" * MAX_HEAD_BYTES), bytes(500_000)),
    ],
    ids=["address", "header", "headers", "body"],
)
def test_client_that_goes_on_sending_reads_that_its_head_is_refused(
    server: Server, pieces: tuple[bytes, ...]
) -> None:
    assert is_refused(answers_until_refused(server, *pieces))


@pytest.mark.parametrize("end", [b"\r\n", b"".join([b"x: y\r\n"] * 50_000)], ids=["complete", "endless"])
def test_large_head_is_refused_after_the_requests_before_it(server: Server, end: bytes) -> None:
    large = HEAD + b"x: %b\r\n" % (b"a" * MAX_HEAD_BYTES)
    first, second = answers_until_refused(server, HEAD + b"\r\n" + large + end).split(b"short")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert is_refused(second)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"\r\n" * 300_000,),
        (UPLOAD, b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"x: y\r\n" * 100_000),
        (UPLOAD, b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 600_000),
    ],
    ids=["blank lines", "trailers", "chunk extension"],
)
def test_what_is_endless_around_requests_ends_the_connection(
    server: Server, pieces: tuple[bytes, ...]
) -> None:
    with suppress(ConnectionError):
        assert server.answers(*pieces) == b""
