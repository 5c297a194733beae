"""HTTP/1.1 as uvicorn speaks it, except for upgrades, what is not HTTP, and connections that end early."""

import asyncio

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from starlette.requests import Request
from starlette.responses import Response
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from contract.errors import ErrorCode, ServiceError
from service.joined_head import JoinedHead
from service.problems import problem_response

_MOST_PIPELINED = 8
"""Requests that may wait behind another before reading pauses."""
_RESTART_SECONDS = 2
"""About what a gateway takes to be back."""


class Http1Protocol(HttpToolsProtocol):
    """Ignores upgrades (RFC 9110, 7.8), and refuses by a problem what it cannot parse or no longer answer."""

    __slots__ = ("_running", "_written")

    _is_refused = False
    """Whether all that follows is ignored."""
    _owed: Response | None = None
    """The refusal of what followed the requests that are being answered."""
    _running: RequestResponseCycle | None
    """The request that is being answered; `cycle` is the last one received, which may wait behind it."""
    _written: JoinedHead
    """What its response is written to."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._running = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._running is not None:
            _disconnect(self._running)

    def data_received(self, data: bytes) -> None:
        try:
            self._parse(data)
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            detail = "This is not well-formed HTTP/1.1. An address is ASCII: percent-encode all else in it."
            self._refuse_in_turn(refusal(ServiceError(ErrorCode.NOT_HTTP, detail)))
        if self.pipeline or self._owed is not None:
            self._read_on()

    def on_response_complete(self) -> None:
        """As in uvicorn, but without its timer for the next request."""
        self._written.flush()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._owed is not None:
            self._end_by(self._owed)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        self._written = cycle.transport = JoinedHead(self.transport, self.loop)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def _read_on(self) -> None:
        """Undo the pause after a second request, during which nobody would notice that the client leaves."""
        if len(self.pipeline) <= _MOST_PIPELINED and len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()

    def shutdown(self) -> None:
        """As in uvicorn, but a request that is still unanswered when it loses patience is refused."""
        super().shutdown()
        if self.config.timeout_graceful_shutdown is not None:
            self.loop.call_later(self.config.timeout_graceful_shutdown, self._give_up)

    def _give_up(self) -> None:
        running = self._running
        if running is None or running.response_started or self.transport.is_closing():
            self.transport.close()
            return
        detail = "The gateway was stopped before it could answer; send the request again."
        error = ServiceError(ErrorCode.SHUTTING_DOWN, detail, retry_after_seconds=_RESTART_SECONDS)
        self._end_by(refusal(error))
        _disconnect(running)

    def _parse(self, data: bytes | memoryview) -> None:
        """Parse requests. The parser stops behind each head that asks for an upgrade, and skips its body."""
        while True:
            try:
                self.parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:
                data = memoryview(data)[upgrade.args[0] :]
            if self.parser.get_method() == b"CONNECT":
                self._refuse_in_turn(_no_tunnel())
                return
            self._parse_without_upgrade()

    def _should_upgrade(self) -> bool:
        """Has uvicorn pass over a head that asks for an upgrade: it is parsed once more."""
        return True

    def _parse_without_upgrade(self) -> None:
        version = self.parser.get_http_version().encode()
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
        self.parser.feed_data(b"".join([*head, b"\r\n"]))

    def _refuse_in_turn(self, refusal: Response) -> None:
        """Refuse what was received last, after the answers to the requests before it."""
        self._is_refused = True
        if self.pipeline and self.cycle.more_body:
            self._drop_last()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._end_by(refusal)
        elif not cycle.more_body:
            self._owed = refusal
        elif cycle.response_started:
            self.transport.close()  # its own body ends here, and what is sent now would answer something else
        else:
            self._end_by(refusal)

    def _drop_last(self) -> None:
        """Drop the request that was received last, which waits, and whose body will never be whole."""
        assert self._running is not None  # what it waits for
        self.pipeline.popleft()
        self.cycle = self.pipeline[0][0] if self.pipeline else self._running

    def _end_by(self, refusal: Response) -> None:
        content = [STATUS_LINE[refusal.status_code]]
        for name, value in (*self.server_state.default_headers, *refusal.raw_headers):
            content += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join([*content, b"\r\n", refusal.body]))
        self.transport.close()


def _disconnect(cycle: RequestResponseCycle) -> None:
    """Tell the app that the client has left."""
    if not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()


def refusal(error: ServiceError) -> Response:
    """Build the last response on a connection, whatever else the client sends."""
    response = problem_response(error, Request({"type": "http", "headers": []}))
    response.headers["Connection"] = "close"
    return response


def _no_tunnel() -> Response:
    detail = "CONNECT is for proxies, and this service is none; send the request itself."
    response = refusal(ServiceError(ErrorCode.METHOD_NOT_ALLOWED, detail))
    response.headers["Allow"] = ""  # required, and no method is allowed for what CONNECT names
    return response
