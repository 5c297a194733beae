"""Answers 431 to a request whose head is too large."""

import asyncio
from contextlib import suppress

from starlette.types import Receive, Scope, Send

from contract.errors import ErrorCode, ServiceError
from service.http1 import Http1Protocol, refusal

MAX_HEAD_BYTES = 64 * 1024
"""Request line and headers together."""
_READ_BYTES = 256 * 1024
"""The most that event loops read at once."""
_LINGER_SECONDS = 2
"""A refused client may still be sending; closing at once would reset its connection before it reads why."""


class LimitedHeads(Http1Protocol):
    """Refuses large heads in their turn, and ends connections on which something else does not end."""

    __slots__ = ()

    _unsettled = 0
    """Bytes since the last end of a request or piece of a body: at least those of the head under way."""
    _body_bytes = 0
    """Of all bodies so far; progress that `service.protocol` looks at, too."""
    _may_be_large = False

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
        self._body_bytes += len(body)
        super().on_body(body)

    def _receive_much(self, data: bytes, unsettled: int) -> None:
        """Receive part of a body, or of a head that may be too large."""
        if self._is_refused:
            return
        before, scope = self._body_bytes, self.scope
        self._may_be_large = True
        super().data_received(data)
        self._may_be_large = False
        if self._body_bytes > before or self.scope is not scope or self._is_between_requests():
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
