"""The limits on how slowly a client may read its answer, over real sockets."""

import socket
import time
from collections import deque
from collections.abc import Iterator

import httpx
import pytest

from service.protocol import LimitedProtocol
from tests.service.answering import LARGE, App
from tests.service.serving import Server, serving
from tests.service.waiting import until


class Patient(LimitedProtocol):
    read_seconds = 1
    unread_bytes = 2**60
    look_seconds = 0.05


class Demanding(Patient):
    unread_bytes = LARGE  # nearly all of a large answer has to be read in a second


@pytest.mark.parametrize("path", ["large", "stream"])
@pytest.mark.parametrize("end", ["", "connection: close\r\n"])
def test_client_that_does_not_read_its_answer_is_disconnected(hasty: Server, path: str, end: str) -> None:
    with hasty.connect() as connection:
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n{end}\r\n".encode())
        connection.recv(1, socket.MSG_PEEK)  # it has begun to answer
        until(lambda: not hasty.server_state.connections)
        until(lambda: not hasty.server_state.tasks)
        with pytest.raises(ConnectionError):
            while connection.recv(2**20):
                pass


def sips(connection: socket.socket, path: str) -> Iterator[int]:
    """Request this and read it slowly. Yields how much of it has been received."""
    connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    received = 0
    while piece := connection.recv(3 * 2**12):
        yield (received := received + len(piece))
        time.sleep(0.02)


@pytest.mark.parametrize(("path", "protocol"), [("large", Patient), ("stream", Demanding)])
def test_client_that_reads_slowly_gets_its_answer(
    app: App, path: str, protocol: type[LimitedProtocol]
) -> None:
    with serving(app, protocol) as server, server.connect() as connection:
        # the kernel sends more than this before it takes any of the server's buffer
        received = next(received for received in sips(connection, path) if received > 2**20)
        while received < LARGE:
            received += len(piece := connection.recv(2**20))
            assert piece


def test_client_that_reads_too_little_of_what_is_held_for_it_is_disconnected(app: App) -> None:
    with serving(app, Demanding) as server, server.connect() as connection, pytest.raises(ConnectionError):
        deque(sips(connection, "large"))


def test_the_more_all_clients_leave_unread_the_more_has_each_to_read(app: App) -> None:
    unread = LimitedProtocol._unread
    with serving(app, Patient) as patient, patient.connect() as connection:
        received = sips(connection, "large")
        until(lambda: next(received) and unread.bytes > LARGE // 2)
        unread.bytes += 2**80
        try:
            with pytest.raises(ConnectionError):
                deque(received)
        finally:
            unread.bytes -= 2**80
    until(lambda: unread.bytes == 0)


def test_connection_serves_as_before_after_its_client_was_slow(app: App) -> None:
    with serving(app, Patient) as patient, httpx.Client(base_url=patient.url, timeout=60) as client:
        for _ in range(2):
            with client.stream("GET", "/large") as answer:
                pieces = answer.iter_raw()
                next(pieces)
                time.sleep(0.2)
                assert len(b"".join(pieces)) > LARGE // 2
            assert client.get("/").text == "short"
