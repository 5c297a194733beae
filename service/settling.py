"""Retries what a failure of Redis or the volume left unresolved, until both have answered."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

ROUND_SECONDS = 1.0


async def until_settled(attempt: Callable[[], Awaitable[bool]], *also_broken_by: type[Exception]) -> None:
    """Call `attempt` every second until it returns True, ignoring Redis errors and `also_broken_by`."""
    while True:
        with contextlib.suppress(RedisError, *also_broken_by):
            if await attempt():
                return
        await asyncio.sleep(ROUND_SECONDS)
