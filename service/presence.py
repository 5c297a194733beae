"""Detects clients that disconnect, so that no work is done for them."""

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request

_PATIENCE_SECONDS = 0.1
"""Most answers are faster; for those, watching for a disconnect would cost more than it saves."""


async def await_for(request: Request, work: "asyncio.Task[Any]") -> None:
    """Wait until the work is done. It continues if this is cancelled, or if the client disconnects.

    Raises:
        ClientDisconnect: the client disconnected first.
        HTTPException: 413, the client sent too long a body, which nobody had asked for.
    """
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    leaving: asyncio.Task[None] | None = None

    def end(_done: object) -> None:
        if not over.done():
            over.set_result(None)

    def watch() -> None:
        nonlocal leaving
        leaving = loop.create_task(_departure(request))
        leaving.add_done_callback(end)

    watching = loop.call_later(_PATIENCE_SECONDS, watch)
    work.add_done_callback(end)
    try:
        await over
    finally:
        watching.cancel()
        work.remove_done_callback(end)
        if leaving:
            leaving.cancel()
    if not work.done():
        if leaving:
            leaving.result()
        raise ClientDisconnect


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
