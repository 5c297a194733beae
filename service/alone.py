"""Mutual exclusion across the deployment, by a lock on a directory that is freed when its holder dies."""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from service.gateway import Gateway
from service.refusals import store_unavailable

_LOOK_SECONDS = 0.01
_PATIENCE_SECONDS = 5.0


@asynccontextmanager
async def alone(gateway: Gateway, directory: Path, *, doing: str) -> AsyncIterator[None]:
    """Hold a lock on the directory that excludes every other gateway on this volume.

    Raises:
        ServiceError: `store_unavailable` if another gateway has held it for seconds; `doing` says what for.
    """
    async with gateway.lock(str(directory)):
        give_up = time.monotonic() + _PATIENCE_SECONDS
        opened = await gateway.on_volume(_open, directory)
        try:
            while not _lock(opened):
                if time.monotonic() > give_up:
                    raise store_unavailable(f"Another gateway has been {doing} for several seconds")
                await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:
            os.close(opened)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def _lock(directory: int) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
