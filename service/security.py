"""Rejects requests under a foreign name or from a foreign page, because any web page can reach localhost."""

from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from contract.errors import ErrorCode, ServiceError
from service.problems import problem_response

_HARMLESS_METHODS = {"GET", "HEAD", "OPTIONS"}
_OWN_SITES = {"same-origin", "none"}
_MOST_CHARACTERS = 260
"""Of a Host header: a name has at most 253, a port 5. A longer one would stay in the cache."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class OwnNames:
    """The host names of this service: those of its own machine, and those configured."""

    def __init__(self, given: Iterable[str]) -> None:
        self._names = frozenset(name.lower() for name in (*LOCAL_HOSTS, *given))

    def include(self, host: str) -> bool:
        """Whether a Host header names this service."""
        return len(host) <= _MOST_CHARACTERS and _host_name(host) in self._names


class SameOrigin:
    """Rejects a foreign Host (DNS rebinding), and state changes requested by a foreign page (CSRF)."""

    def __init__(self, app: ASGIApp, own_names: OwnNames) -> None:
        self._app = app
        self._own_names = own_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            refusal = self._foreign_host(request) or _foreign_origin(request)
            if refusal:
                await problem_response(refusal, request)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _foreign_host(self, request: Request) -> ServiceError | None:
        host = request.headers.get("host", "")
        if self._own_names.include(host) and len(request.headers.getlist("host")) == 1:
            return None
        detail = (
            f"This service does not answer under the Host {host[:100]!r}; call it as localhost, "
            "or list the name in DCGAN_ALLOWED_HOSTS."
        )
        return ServiceError(ErrorCode.FOREIGN_HOST, detail)


@lru_cache(maxsize=64)
def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _foreign_origin(request: Request) -> ServiceError | None:
    if request.method in _HARMLESS_METHODS:
        return None
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    if site in _OWN_SITES and (origin is None or _is_own(origin, request.headers["host"])):
        return None
    detail = (
        f"A page of {(origin or 'another site')[:100]!r} must not change anything here; "
        "send the request from this service's own pages or from a program."
    )
    return ServiceError(ErrorCode.FOREIGN_ORIGIN, detail)


def _is_own(origin: str, host: str) -> bool:
    scheme, separator, place = origin.partition("://")
    return bool(separator) and scheme in ("http", "https") and place.lower() == host.lower()
