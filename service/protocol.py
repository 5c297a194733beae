"""HTTP/1.1, with limits for clients that send too much or nothing, or do not read."""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from starlette.types import Receive, Scope, Send

from contract.errors import ErrorCode, ServiceError
from service.http1 import Http1Protocol, refusal

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together."""
_READ_BYTES = 256 * 1024
"""The most that event loops read at once."""
_LINGER_SECONDS = 2
"""A refused client may still be sending; closing at once would reset its connection before it reads why."""


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


class LimitedProtocol(Http1Protocol):
    """Answers 431 to a large head, and ends connections whose client does nothing although it is its turn.

    Each connection is looked at every few seconds, so that no request pays for a timer (uvicorn's own costs
    each 3 µs). Looks are counted, not seconds: a client gets its time even if the event loop was blocked.
    """

    __slots__ = ("_equal_looks", "_look_timer", "_wait")  # no room for them in CPython's fast 30 attributes

    head_seconds: float = 30
    """For a head, from its first byte to its last. Silence may last `timeout_keep_alive`."""
    read_seconds: float = 30
    """How long a client may read nothing of its answer."""
    look_seconds: float = 5

    _unsettled = 0
    """Bytes since the last end of a request or piece of a body: at least those of the head under way."""
    _body_pieces = 0
    _resumes = 0
    """How often the write buffer was emptied after it had paused the app."""
    _may_be_large = False
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

    def data_received(self, data: bytes) -> None:
        unsettled = self._unsettled + len(data)
        if unsettled > MAX_HEAD_BYTES or self._is_refused:
            self._receive_much(data, unsettled)
            return
        super().data_received(data)
        if not self._is_between_requests():
            self._unsettled = unsettled
        elif self._unsettled:
            self._unsettled = 0

    def on_headers_complete(self) -> None:
        if self._may_be_large and self._head_bytes() > MAX_HEAD_BYTES:
            self._refuse()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_pieces += 1
        super().on_body(body)

    def resume_writing(self) -> None:
        self._resumes += 1
        super().resume_writing()

    def _receive_much(self, data: bytes, unsettled: int) -> None:
        """Receive part of a body, or of a head that may be too large."""
        if self._is_refused:
            return
        pieces, scope = self._body_pieces, self.scope
        self._may_be_large = True
        super().data_received(data)
        self._may_be_large = False
        if self._body_pieces > pieces or self.scope is not scope or self._is_between_requests():
            self._unsettled = len(data)
        else:
            self._unsettled = unsettled
            if unsettled > MAX_HEAD_BYTES + _READ_BYTES:
                self._stop_endless()

    def _stop_endless(self) -> None:
        """Refuse a head; trailers, chunk headers or blank lines that do not end only end the connection."""
        if not self._is_amid_head():
            self.transport.close()
        elif not self.transport.is_closing():
            self._refuse()
            super().on_headers_complete()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse(self) -> None:
        """Have this request answered in its turn by the refusal, and ignore all that follows."""
        self._is_refused, self.app = True, _refused
        self.url = b"/"
        self.headers.clear()

    def _is_between_requests(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and cycle.scope is self.scope

    def _is_amid_head(self) -> bool:
        return self.scope is not None and "method" not in self.scope

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


async def _refused(_scope: Scope, receive: Receive, send: Send) -> None:
    detail = f"The request line and headers exceed the limit of {MAX_HEAD_BYTES:,} bytes; send less."
    response = refusal(ServiceError(ErrorCode.HEADERS_TOO_LARGE, detail))
    status, headers = response.status_code, response.raw_headers
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while (await receive())["type"] != "http.disconnect":
                pass
    await send({"type": "http.response.body"})
