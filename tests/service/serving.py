"""Servers in threads, on free ports."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import uvicorn
from starlette.types import ASGIApp

from service.app import create_app
from service.protocol import LimitedProtocol
from service.settings import Settings


class Server(uvicorn.Server):
    """Serves an app as a gateway's process does."""

    def __init__(self, app: ASGIApp, protocol: type[LimitedProtocol]) -> None:
        config = uvicorn.Config(app, port=0, http=protocol, log_level="critical", timeout_graceful_shutdown=1)
        super().__init__(config)
        self.is_ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_ready.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"

    def connect(self) -> socket.socket:
        place = urlsplit(self.url)
        return socket.create_connection((place.hostname, place.port), timeout=60)

    def answers(self, *pieces: bytes) -> bytes:
        """All that it sends to a client that sends these, until it closes the connection."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return connection.makefile("rb").read()


@contextmanager
def serving(app: ASGIApp, protocol: type[LimitedProtocol] = LimitedProtocol) -> Iterator[Server]:
    """Serve until the end of the block."""
    server = Server(app, protocol)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.is_ready.wait(60)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


@contextmanager
def serve(settings: Settings) -> Iterator[str]:
    """Run a gateway with these settings until the end of the block, and yield its URL."""
    with serving(create_app(settings)) as server:
        yield server.url


@contextmanager
def client_of(settings: Settings) -> Iterator[httpx.Client]:
    """Run a gateway with these settings until the end of the block, and yield a client of it."""
    with serve(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client
