"""A fast path to samples that bypasses FastAPI and calls the same route function.

FastAPI takes about 250 µs to parse the parameters, and its middleware 30, whereas a cached answer takes 20 in
all. Plain requests for plain URLs are parsed here; any other form, and everything invalid, goes through
FastAPI.
"""

import re
from functools import lru_cache

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.errors import response_to
from service.gateway import Gateway
from service.routes.samples import SamplesQuery, get_samples
from service.security import OwnNames

_PATH = "/samples"
_METHODS = ("GET", "HEAD")
_PAIR = "[a-z_]{1,32}=[A-Za-z0-9:._-]{1,128}"
_PLAIN = re.compile(f"{_PAIR}(&{_PAIR}){{0,15}}".encode())
_MOST_BYTES = 16 * (32 + 1 + 128) + 15
"""The longest query that is plain."""
_OF_A_BODY = (b"content-length", b"transfer-encoding")


class ShortWay:
    """Runs before all middleware, and itself does whatever that would do for such a request."""

    def __init__(self, gateway: Gateway, own_names: OwnNames) -> None:
        self._gateway = gateway
        self._own_names = own_names

    async def answered(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the request if it is plain. Returns whether it was; if not, nothing has happened."""
        query = self._read(scope)
        if query is None:
            return False
        request = Request(scope, receive)
        response = await self._answer(request, query)
        await response(scope, receive, send)
        return True

    def _read(self, scope: Scope) -> SamplesQuery | None:
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] not in _METHODS:
            return None
        hosts = []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name in _OF_A_BODY:
                return None
        if len(hosts) != 1 or not self._own_names.include(hosts[0].decode("latin-1")):
            return None
        return read_plain(scope["query_string"])

    async def _answer(self, request: Request, query: SamplesQuery) -> Response:
        try:
            return await get_samples(request, self._gateway, query)
        except Exception as error:
            return await response_to(error, request)


def read_plain(query_string: bytes) -> SamplesQuery | None:
    """Parse the parameters; None unless all are valid, none is repeated, and nothing needs decoding."""
    return _parse(query_string) if len(query_string) <= _MOST_BYTES else None


@lru_cache(maxsize=1024)
def _parse(query_string: bytes) -> SamplesQuery | None:
    """Cached, because clients ask for the same pictures again; never given a long query."""
    if not _PLAIN.fullmatch(query_string):
        return None
    pairs = [pair.split("=") for pair in query_string.decode("ascii").split("&")]
    given = {name: value for name, value in pairs}  # noqa: C416 — a pair is a list of two here
    if len(given) < len(pairs):
        return None
    try:
        return SamplesQuery.model_validate(given)
    except ValidationError:
        return None
