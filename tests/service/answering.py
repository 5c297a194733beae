"""A bare app behind our protocol, and a protocol that is soon impatient."""

import asyncio
import threading
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from service.protocol import LimitedProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
UPLOAD = b"POST /length HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 24 * 2**20
LONG_SECONDS = 0.8
"""What `GET /?wait=yes` takes: longer than every limit of `Hasty`."""


class Hasty(LimitedProtocol):
    head_seconds = 0.3
    read_seconds = 0.3
    body_rate = 1
    look_seconds = 0.05

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.timeout_keep_alive = 0.6  # type: ignore[assignment]


class App:
    """Answers each path in its own way, and records what became of the requests."""

    def __init__(self) -> None:
        self.left = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        answers = {"/": self.short, "/length": self.length, "/large": self.large, "/stream": self.stream}
        try:
            await answers[scope["path"]](request, send)
        except ClientDisconnect:
            self.left.set()

    async def short(self, request: Request, send: Send) -> None:
        if request.query_params.get("wait"):
            await asyncio.sleep(LONG_SECONDS)
        await self.say(send, b"short")

    async def length(self, request: Request, send: Send) -> None:
        await self.say(send, b"%d" % len(await request.body()))

    async def large(self, _request: Request, send: Send) -> None:
        await self.say(send, bytes(LARGE))

    async def stream(self, _request: Request, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(LARGE // 2**14):
            await send({"type": "http.response.body", "body": bytes(2**14), "more_body": True})
        await send({"type": "http.response.body"})

    async def say(self, send: Send, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
