"""The limits on what a client may send, and on how slowly, over real sockets."""

import itertools
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from service.problems import Problem
from tests.service.answering import HEAD, LARGE, LONG_SECONDS, UPLOAD, App, Hasty
from tests.service.serving import Server, serving
from tests.service.waiting import until


class Demanding(Hasty):
    body_rate = 2**30


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


def test_blank_lines_after_a_request_keep_its_connection_no_longer_than_silence(hasty: Server) -> None:
    with suppress(ConnectionError):
        assert hasty.answers(HEAD + b"\r\n", b"\r\n" * 300_000).count(b"short") == 1


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


def test_app_is_told_that_a_body_stopped(hasty: Server, app: App) -> None:
    app.left.clear()
    hasty.answers(UPLOAD + b"content-length: 5\r\n\r\nabc")
    assert app.left.wait(60)


def test_connection_of_a_client_whose_body_only_trickles_is_closed(app: App) -> None:
    with serving(app, Demanding) as demanding, demanding.connect() as connection:
        connection.sendall(UPLOAD + b"content-length: 1000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            until(lambda: connection.sendall(b"a"))


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
