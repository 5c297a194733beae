"""HTTP/1.1, with limits for clients that send too much (`service.large_heads`) or nothing, or do not read."""

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
    """What a connection waits for. If two looks find the same, nothing has moved in between."""

    stage: _Stage
    seconds: float
    turn: object
    progress: int = 0


class LimitedProtocol(LimitedHeads):
    """Ends connections whose client does nothing although it is its turn.

    Each connection is looked at every few seconds, so that no request pays for a timer (uvicorn's own costs
    each 3 µs). Looks are counted, not seconds: a client gets its time even if the event loop was blocked.
    """

    __slots__ = ("_equal_looks", "_look_timer", "_wait")  # no room for them in CPython's fast 30 attributes

    head_seconds: float = 30
    """For a head, from its first byte to its last. Silence may last `timeout_keep_alive`."""
    read_seconds: float = 30
    """How long a client may read nothing of its answer."""
    look_seconds: float = 5

    _resumes = 0
    """How often the write buffer was emptied after it had paused the app."""
    _is_measured = False
    """Whether the app is paused until the write buffer is empty, so that it shrinks if anything is read."""
    _wait: _Wait | None
    _equal_looks: int
    _look_timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait = None
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._look_timer.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        self._resumes += 1
        super().resume_writing()

    def _look(self) -> None:
        """End the connection if it has waited for the same thing long enough."""
        wait = self._waits_for()
        if wait is None or wait != self._wait:
            self._wait, self._equal_looks = wait, 0
        else:
            self._equal_looks += 1
            if self._equal_looks * self.look_seconds >= wait.seconds:
                self._end(wait)
        self._look_timer = self.loop.call_later(self.look_seconds, self._look)

    def _end(self, wait: _Wait) -> None:
        if wait.stage is not _Stage.READER:
            self.transport.close()
            return
        is_on, seconds = 1, 0
        options = struct.pack("ii", is_on, seconds)  # a reset, else the kernel keeps its part for minutes
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, options)
        self.transport.abort()  # close() would wait for the client to read

    def _waits_for(self) -> _Wait | None:
        """None while it is our turn."""
        unsent = self.transport.get_write_buffer_size()
        self._measure_writes(is_wanted=unsent > 0)
        if unsent:
            return _Wait(_Stage.READER, self.read_seconds, self._resumes, unsent + self._unacknowledged())
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self._is_amid_head():
                return _Wait(_Stage.HEAD, self.head_seconds, cycle)
            return _Wait(_Stage.NEXT_REQUEST, self.timeout_keep_alive, cycle)
        if cycle.more_body and not self.flow.read_paused and not cycle.waiting_for_100_continue:
            return _Wait(_Stage.BODY, self.timeout_keep_alive, cycle, self._body_pieces)
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
