"""HTTP/1.1, with limits for clients that send too much (`service.large_heads`), or that are too slow."""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from service.large_heads import LimitedHeads


class _Stage(Enum):
    NEXT_REQUEST = "the first byte of a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    READER = "the client to read its answer"


class _Wait(NamedTuple):
    """What a connection waits for."""

    stage: _Stage
    seconds: float
    turn: object
    moved: int = 0
    """A count of bytes that rises with each that the client sends or reads."""
    least: int = 1
    """How many of them the client has to move in these seconds."""

    def is_still(self, before: "_Wait | None") -> bool:
        """Whether this is the same wait as before, and the client has moved too little meanwhile."""
        return (
            before is not None
            and (self.stage, self.turn) == (before.stage, before.turn)
            and self.moved - before.moved < self.least
        )


class _Unread:
    """What this process holds of answers until clients read it, as of the last look at each connection."""

    bytes = 0


class LimitedProtocol(LimitedHeads):
    """Ends connections whose client does too little although it is its turn.

    Each connection is looked at every few seconds, so that no request pays for a timer (uvicorn's own costs
    each 3 µs). Looks are counted, not seconds: a client gets its time even if the event loop was blocked.
    """

    __slots__ = ("_held", "_look_timer", "_still_looks", "_wait")  # beyond CPython's fast 30 attributes

    head_seconds: float = 30
    """For a head, from its first byte to its last. Silence may last `timeout_keep_alive`."""
    read_seconds: float = 30
    """How long a client may read too little of its answer."""
    unread_bytes: int = 4 * 2**30
    """The share of an answer that has to be read meanwhile: that of all that is unread in these bytes."""
    body_rate: float = 4096
    """Bytes per second that a client sends of a body, over as long as it may be silent."""
    look_seconds: float = 5

    _resumes = 0
    """How often the write buffer was emptied after it had paused the app."""
    _is_measured = False
    """Whether the app is paused until the write buffer is empty, so that it shrinks if anything is read."""
    _wait: _Wait | None
    """As it was when the client had last moved enough."""
    _still_looks: int
    _look_timer: asyncio.TimerHandle
    _unread = _Unread()
    _held: int
    """This connection's part of it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait, self._held = None, 0
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_timer.cancel()
        self._count(0)
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self._resumes += 1
        super().resume_writing()

    def _look(self) -> None:
        """End the connection if it has waited long enough."""
        unsent = self.transport.get_write_buffer_size()
        self._count(unsent)
        self._measure_writes(is_wanted=unsent > 0)
        wait = self._waits_for(unsent)
        if wait is None or not wait.is_still(self._wait):
            self._wait, self._still_looks = wait, 0
        else:
            self._still_looks += 1
            if self._still_looks * self.look_seconds >= wait.seconds:
                self._end(wait)
        self._look_timer = self.loop.call_later(self.look_seconds, self._look)

    def _count(self, unsent: int) -> None:
        self._unread.bytes += unsent - self._held
        self._held = unsent

    def _end(self, wait: _Wait) -> None:
        if wait.stage is not _Stage.READER:
            self.transport.close()
            return
        is_on, seconds = 1, 0
        options = struct.pack("ii", is_on, seconds)  # a reset, else the kernel keeps its part for minutes
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, options)
        self.transport.abort()  # close() would wait for the client to read

    def _waits_for(self, unsent: int) -> _Wait | None:
        """None while it is our turn."""
        if unsent:
            moved = -unsent - self._unacknowledged()
            least = max(1, unsent * self._unread.bytes // self.unread_bytes)
            return _Wait(_Stage.READER, self.read_seconds, self._resumes, moved, least)
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self._is_amid_head():
                return _Wait(_Stage.HEAD, self.head_seconds, cycle)
            return _Wait(_Stage.NEXT_REQUEST, self.timeout_keep_alive, cycle)
        if cycle.more_body and not self.flow.read_paused and not cycle.waiting_for_100_continue:
            seconds = self.timeout_keep_alive
            least = max(1, int(self.body_rate * seconds))
            return _Wait(_Stage.BODY, seconds, cycle, self._body_bytes, least)
        return None

    def _measure_writes(self, *, is_wanted: bool) -> None:
        if is_wanted is not self._is_measured:
            self._is_measured = is_wanted
            self.transport.set_write_buffer_limits(0 if is_wanted else None)

    def _unacknowledged(self) -> int:
        """Bytes in the kernel's buffer, which takes no more of ours until a third of it (1 MB) is free."""
        with suppress(OSError):
            number = self.transport.get_extra_info("socket").fileno()
            return int(struct.unpack("i", fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)))[0])
        return 0
