"""Whether a client still waits for its answer: nobody works for those who have left."""

import asyncio
from typing import Any

from starlette.requests import ClientDisconnect, Request

_PATIENCE_SECONDS = 0.02
"""Most answers come sooner: then looking whether the client has left would cost more than it saves."""


async def await_for(request: Request, work: "asyncio.Task[Any]") -> None:
    """Until the work is done; it goes on when this is cancelled.

    Raises:
        ClientDisconnect: the client left first. The work goes on: others may wait for it.
    """
    done, _ = await asyncio.wait((work,), timeout=_PATIENCE_SECONDS)
    if done:
        return
    leaving = asyncio.create_task(_departure(request))
    try:
        await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
    if not work.done():
        raise ClientDisconnect


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
