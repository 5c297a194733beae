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
        lock = _Lock(directory)
        try:
            while not await gateway.on_volume(lock.acquire):
                if time.monotonic() > give_up:
                    raise store_unavailable(f"Another gateway has been {doing} for several seconds")
                await asyncio.sleep(_LOOK_SECONDS)
            yield
        finally:
            await gateway.on_volume.at_last(lock.release)  # not before a write that was left behind


class _Lock:
    """A lock on a directory. Both methods touch the volume, on which even they may hang."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._opened: int | None = None

    def acquire(self) -> bool:
        """Try to lock it; returns whether it is locked."""
        if self._opened is None:
            self._opened = os.open(self._directory, os.O_RDONLY)
        try:
            fcntl.flock(self._opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        if self._opened is not None:
            os.close(self._opened)
