"""The limits on what a client may send, and on how slowly, over real sockets."""

import itertools
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from service.large_heads import MAX_HEAD_BYTES
from service.problems import Problem
from tests.service.answering import LARGE, LONG_SECONDS, App, Hasty
from tests.service.problems import refused
from tests.service.serving import Server, serving
from tests.service.waiting import until

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD = b"POST /length HTTP/1.1\r\nHost: localhost\r\n"


class Demanding(Hasty):
    body_rate = 2**30


@pytest.fixture(scope="module")
def app() -> App:
    return App()


@pytest.fixture(scope="module")
def server(app: App) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, serving(app) as server:
        patch.setattr("service.large_heads._LINGER_SECONDS", 0.5)
        yield server


@pytest.fixture(scope="module")
def hasty(app: App) -> Iterator[Server]:
    with serving(app, Hasty) as server:
        yield server


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


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00 as TLS begins\r\n\r\n",
        "GET /samples?model=schön HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"\r\n" + b"no HTTP\r\n\r\n",
        UPLOAD + b"transfer-encoding: chunked\r\n\r\nno length\r\n",
    ],
    ids=["TLS", "address", "header", "after an answer", "chunk"],
)
def test_what_is_not_http_is_refused_as_everything_is(server: Server, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        answer = connection.makefile("rb").read()
    head, _, body = answer[answer.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    named = dict(line.lower().split(b": ") for line in head.split(b"\r\n")[1:])
    assert head.startswith(b"HTTP/1.1 400 ")
    assert (named[b"content-type"], named[b"connection"]) == (b"application/problem+json", b"close")
    assert int(named[b"content-length"]) == len(body)
    problem = Problem.model_validate_json(body)
    assert problem.code == "not_http"
    assert "percent-encode" in problem.detail


@pytest.mark.parametrize(
    "broken",
    [b"no HTTP\r\n\r\n", UPLOAD + b"transfer-encoding: chunked\r\n\r\nno length\r\n"],
    ids=["head", "body"],
)
@pytest.mark.parametrize("more", [0, 2])
def test_what_is_not_http_is_refused_after_the_requests_before_it(
    hasty: Server, broken: bytes, more: int
) -> None:
    before = b"GET /?wait=yes HTTP/1.1\r\n\r\n" + (HEAD + b"\r\n") * more
    *answers, refusal = hasty.answers(before + broken).split(b"short")
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * (1 + more)
    assert refusal.startswith(b"HTTP/1.1 400 ")
    assert refusal.count(b"HTTP/1.1 ") == 1


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
        (b"GET /", *[b"a" * 1000] * 500),
        (HEAD, b"x: ", *[b"a" * 1000] * 500),
        (HEAD, *[b"x: y\r\n" * 10] * 10_000),
        (HEAD, *[b"x: y\r\n" * 50] * 250, b"\r\n"),
        (UPLOAD, b"content-length: 1000000\r\nx: %b\r\n\r\n" % (b"a" * MAX_HEAD_BYTES), bytes(500_000)),
    ],
    ids=["address", "endless address", "endless header", "endless headers", "in pieces", "with a body"],
)
def test_large_head_is_refused_and_its_connection_closed(server: Server, pieces: tuple[bytes, ...]) -> None:
    assert is_refused(server.answers(*pieces))


@pytest.mark.parametrize("end", [b"\r\n", b"".join([b"x: y\r\n"] * 50_000)], ids=["complete", "endless"])
def test_large_head_is_refused_after_the_requests_before_it(server: Server, end: bytes) -> None:
    large = HEAD + b"x: %b\r\n" % (b"a" * MAX_HEAD_BYTES)
    first, second = server.answers(HEAD + b"\r\n" + large + end).split(b"short")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert is_refused(second)


@pytest.mark.parametrize(
    "pieces",
    [
        (b"\r\n" * 300_000,),
        (HEAD + b"\r\n", b"\r\n" * 300_000),
        (UPLOAD, b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"x: y\r\n" * 100_000),
        (UPLOAD, b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 600_000),
    ],
    ids=["blank lines", "blank lines after a request", "trailers", "chunk extension"],
)
def test_what_is_endless_around_requests_ends_the_connection(
    server: Server, pieces: tuple[bytes, ...]
) -> None:
    with suppress(ConnectionError):
        assert server.answers(*pieces).count(b"short") == pieces.count(HEAD + b"\r\n")


def test_size_of_bodies_is_not_limited(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(2):
            assert client.post("/length", content=bytes(LARGE)).text == str(LARGE)
            pieces = itertools.repeat(b"a", 50_000)  # of its bytes on the wire, five sixths are no body
            assert client.post("/length", content=pieces).text == "50000"
            assert client.request("GET", "/", content=bytes(2**20)).text == "short"  # it is never read


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\r\n",
        HEAD,
        HEAD + b"\r\n",
        HEAD + b"\r\n" + HEAD,
        UPLOAD + b"content-length: 5\r\n\r\n",
        UPLOAD + b"content-length: 5\r\n\r\nabc",
    ],
    ids=["nothing", "blank line", "half a head", "a request", "one and a half", "no body", "half a body"],
)
def test_connection_of_a_client_that_sends_nothing_more_is_closed(hasty: Server, sent: bytes) -> None:
    assert hasty.answers(sent).count(b"short") == sent.count(HEAD + b"\r\n")


@pytest.mark.parametrize("start", [b"", HEAD + b"\r\n"], ids=["at first", "after a request"])
@pytest.mark.parametrize("drop", [b"x: y\r\n", b"a", b"\r\n"], ids=["headers", "letters", "blank lines"])
def test_connection_of_a_client_whose_head_only_trickles_is_closed(
    hasty: Server, start: bytes, drop: bytes
) -> None:
    before = b"" if drop == b"\r\n" else HEAD + b"x: "
    with hasty.connect() as connection:
        connection.sendall(start + before)
        with pytest.raises(ConnectionError):
            until(lambda: connection.sendall(drop))


def test_connection_of_a_client_whose_body_only_trickles_is_closed(app: App) -> None:
    with serving(app, Demanding) as demanding, demanding.connect() as connection:
        connection.sendall(UPLOAD + b"content-length: 1000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            until(lambda: connection.sendall(b"a"))


def test_app_is_told_that_a_body_stopped(hasty: Server, app: App) -> None:
    app.left.clear()
    hasty.answers(UPLOAD + b"content-length: 5\r\n\r\nabc")
    assert app.left.wait(60)


def test_slow_body_is_received(hasty: Server) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(20):
            time.sleep(LONG_SECONDS / 20)
            yield b"a" * 7

    assert httpx.post(f"{hasty.url}/length", content=slowly(), timeout=60).text == "140"


def test_request_that_takes_long_is_answered(hasty: Server) -> None:
    request = b"GET /?wait=1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert b"short" in hasty.answers(request)
    assert hasty.answers(request + HEAD).count(b"short") == 1
    assert hasty.answers(request + HEAD + b"\r\n").count(b"short") == 2
    expecting = request.replace(b"GET", b"POST")[:-2] + b"content-length: 5\r\nexpect: 100-continue\r\n\r\n"
    assert b"short" in hasty.answers(expecting)
