"""An HTTP/1.1 client cheap enough not to dominate the measurement: bytes in, bytes out.

A request costs about 30 µs of one core, which the benchmark prints next to its results. Responses must have a
Content-Length, as all responses in these benchmarks do.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import NamedTuple, Self, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TIMING = re.compile(rb"\r\nserver-timing: *([^\r]+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"


class Reply(NamedTuple):
    """A response; `head` is the status line and the headers as received."""

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header with that name."""
        found = re.search(rb"\r\n" + name.encode() + rb": *([^\r]+)", self.head + b"\r\n", re.IGNORECASE)
        return found[1].decode() if found else None

    def stages(self) -> dict[str, float]:
        """The milliseconds of each stage in `Server-Timing`."""
        found = _TIMING.search(self.head + b"\r\n")
        entries = found[1].decode().split(",") if found else []
        pairs = (entry.strip().partition(";dur=") for entry in entries)
        return {name: float(duration.partition(";")[0]) for name, _, duration in pairs if duration}


@dataclass(frozen=True)
class Address:
    """The address of a server on this machine."""

    port: int

    def get(self, path: str, *headers: str) -> bytes:
        return self._request("GET", path, headers, b"")

    def post(self, path: str, body: bytes) -> bytes:
        return self._request("POST", path, ("Content-Type: application/json",), body)

    def _request(self, method: str, path: str, headers: tuple[str, ...], body: bytes) -> bytes:
        length = (f"Content-Length: {len(body)}",) if body else ()
        lines = (f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers, *length, "", "")
        return "\r\n".join(lines).encode() + body


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[Reply] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, address: Address) -> Self:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", address.port)
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def ask(self, request: bytes) -> Reply:
        """Send a request and return the response.

        Raises:
            ConnectionError: the server closed the connection first.
        """
        if self._transport is None:
            raise ConnectionResetError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own does not inherit from it

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(f"the server closed the connection: {error}"))

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = self._received[:end]
        found = _LENGTH.search(head)
        start, length = end + len(_HEAD_END), int(found[1]) if found else 0
        if len(self._received) < start + length or self._answer is None:
            return
        body = self._received[start : start + length]
        self._received = b""
        if not self._answer.done():
            self._answer.set_result(Reply(int(head[9:12]), head, body))
