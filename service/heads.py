"""HEAD for every GET route (RFC 9110, 9.3.2): the same status and headers, without a body."""

import contextlib
from collections.abc import Sequence
from typing import Any

from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Message, Receive, Scope, Send

_ROUTE = "dcgan.get_route"


class Heads(BaseRoute):
    """Comes after the other routes, some of which answer HEAD without the work for the body."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        self._routes = routes

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            return Match.NONE, {}
        asked = {**scope, "method": "GET"}
        for route in self._routes:
            match, found = route.matches(asked)
            if match is Match.FULL:
                return Match.FULL, {**found, _ROUTE: route}
        return Match.NONE, {}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        raise NoMatchFound(name, path_params)  # the GET route has the name

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_head(message: Message) -> None:
            await send(message)
            await send({"type": "http.response.body"})
            raise _Told

        with contextlib.suppress(_Told):
            await scope[_ROUTE].handle({**scope, "method": "GET"}, receive, send_head)


class _Told(Exception):  # noqa: N818 — nothing is wrong
    """Stops a route once its headers have been sent; its body might never end."""
