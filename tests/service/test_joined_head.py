"""The head of a response and a small body are one packet, and nothing is held back for long."""

import asyncio
from collections.abc import Callable

import pytest

from service.joined_head import JoinedHead

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire(asyncio.Transport):
    """Records what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.is_closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def sent_by(write: Callable[[JoinedHead], None]) -> list[bytes]:
    """What is sent in the same step of the event loop."""

    async def run() -> list[bytes]:
        wire = Wire()
        write(JoinedHead(wire, asyncio.get_running_loop()))
        return list(wire.sent)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("pieces", "packets"),
    [
        ([HEAD], []),
        ([HEAD, b"body"], [HEAD + b"body"]),
        ([HEAD, b""], [HEAD]),
        ([HEAD, b"a", b"b"], [HEAD + b"a", b"b"]),
        ([HEAD, bytes(2**20)], [HEAD, bytes(2**20)]),
    ],
    ids=["head", "body", "no body", "pieces", "large"],
)
def test_head_is_sent_with_what_follows_it_at_once(pieces: list[bytes], packets: list[bytes]) -> None:
    def write(joined: JoinedHead) -> None:
        for piece in pieces:
            joined.write(piece)

    assert sent_by(write) == packets


def test_head_does_not_wait_for_a_body_of_a_later_step() -> None:
    async def run() -> None:
        wire = Wire()
        joined = JoinedHead(wire, asyncio.get_running_loop())
        joined.write(HEAD)
        await asyncio.sleep(0)
        assert wire.sent == [HEAD]
        joined.write(b"later")
        assert wire.sent == [HEAD, b"later"]

    asyncio.run(run())


@pytest.mark.parametrize("end", [JoinedHead.flush, JoinedHead.close])
def test_head_that_ends_a_response_is_sent_before_what_follows(end: Callable[[JoinedHead], None]) -> None:
    def write(joined: JoinedHead) -> None:
        joined.write(HEAD)
        end(joined)

    assert sent_by(write) == [HEAD]


def test_nothing_is_written_to_a_connection_that_is_lost() -> None:
    async def run() -> None:
        wire = Wire()
        JoinedHead(wire, asyncio.get_running_loop()).write(HEAD)
        wire.close()
        await asyncio.sleep(0)
        assert wire.sent == []

    asyncio.run(run())
