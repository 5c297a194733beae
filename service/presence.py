"""Whether a client still waits for its answer: nobody works for those who have left."""

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request

_PATIENCE_SECONDS = 0.1
"""Most answers come sooner: then looking whether the client has left would cost more than it saves."""


async def await_for(request: Request, work: "asyncio.Task[Any]") -> None:
    """Until the work is done. It goes on when this is cancelled, and when the client leaves.

    Raises:
        ClientDisconnect: the client left first.
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
        raise ClientDisconnect


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
