"""A webhook receiver: an HTTP server that records messages and answers them as the test specifies."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = "whsec_c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"


@dataclass(frozen=True)
class Call:
    """One message, as received."""

    path: str
    headers: dict[str, str]  # by lower-case name
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """The messages received, in order, and the statuses of the next answers; 200 when none are left."""

    calls: list[Call] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    retry_after: str | None = None
    open: threading.Event = field(default_factory=threading.Event)  # answers wait until it is set
    url: str = ""

    @property
    def ids(self) -> list[str]:
        return [call.id for call in self.calls]

    @property
    def webhook(self) -> dict[str, str]:
        """As `POST /jobs` accepts it; its path and query contain tokens that nobody else may see."""
        return {"url": f"{self.url}/hook/token-in-path?key=token-in-query", "secret": SECRET}


class _Handler(BaseHTTPRequestHandler):
    receiver: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.receiver.calls.append(Call(self.path, headers, body))
        status = self.receiver.answers.pop(0) if self.receiver.answers else 200
        self.receiver.open.wait()
        self.send_response(status)
        self.send_header("Location", f"{self.receiver.url}/elsewhere")
        if self.receiver.retry_after:
            self.send_header("Retry-After", self.receiver.retry_after)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class names it so
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that hang up."""


@contextmanager
def receiving(port: int = 0, *, certificate: Path | None = None) -> Iterator[Receiver]:
    """Run a receiver on loopback; with a certificate (PEM, including its key), over TLS."""
    receiver = Receiver()
    receiver.open.set()
    server = _Server(("127.0.0.1", port), type("ItsHandler", (_Handler,), {"receiver": receiver}))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    receiver.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
