"""Limits the size of JSON bodies: a larger one is rejected before it is read completely."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract.errors import ErrorCode, ServiceError
from contract.latents import MOST_NUMBERS
from service.body_length import declared_length
from service.problems import problem_response

MAX_JSON_BYTES = 32 * MOST_NUMBERS
"""2 MiB: the most latents of one request, each number a double of up to 24 characters, with separators."""


class SmallBodies:
    """Limits every body, except on upload routes, which enforce their own limits."""

    def __init__(self, app: ASGIApp, upload_paths: tuple[str, ...]) -> None:
        self._app = app
        self._upload_paths = upload_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._upload_paths:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if declared_length(request) > MAX_JSON_BYTES and _has_route(request):
            await problem_response(_too_large(), request)(scope, receive, send)
            return
        await self._app(scope, _counted(receive), send)


def _has_route(request: Request) -> bool:
    """Whether a route would answer. If none does, what to say is that, and nobody reads the body."""
    return any(route.matches(request.scope)[0] is Match.FULL for route in request.app.routes)


def _counted(receive: Receive) -> Receive:
    received = 0

    async def receive_counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_JSON_BYTES:
            raise HTTPException(413, _too_large().detail)
        return message

    return receive_counted


def _too_large() -> ServiceError:
    return ServiceError(
        ErrorCode.BODY_TOO_LARGE, f"The body exceeds the limit of {MAX_JSON_BYTES:,} bytes; send less."
    )
