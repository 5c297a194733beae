"""What was left open when Redis or the volume broke off: tried until both have answered."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from redis.exceptions import RedisError

ROUND_SECONDS = 1.0


async def until_settled(attempt: Callable[[], Awaitable[bool]], *also_broken_by: type[Exception]) -> None:
    """Try until an attempt says that it is settled; where Redis breaks off, the next one goes on."""
    while True:
        with contextlib.suppress(RedisError, *also_broken_by):
            if await attempt():
                return
        await asyncio.sleep(ROUND_SECONDS)
