"""HTTP caching (RFC 9111): what clients may cache."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PINNED = "public, max-age=31536000, immutable"
"""`Cache-Control` of a URL whose response never changes."""


class Revalidation:
    """Makes caches ask before each use of an answer, unless it says else: they guess how long it is true."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).setdefault("Cache-Control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_told)
