"""Room for imported generators: those that are kept, and those that this gateway is receiving."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contract.errors import ErrorCode, ServiceError
from service.store import Store


class ImportRoom:
    """Limits the bytes of all imported generators together."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._receiving = 0
        self._reserving = asyncio.Lock()

    @asynccontextmanager
    async def reserved(self, declared: int, most: int) -> AsyncIterator[int]:
        """Reserve room for a file that is received within this block. Yields how many bytes it may have.

        These are as many as it declares; or, if it declares 0, all that are left, but `most` at most.

        Raises:
            ServiceError: `imports_full`.
        """
        size = await self._reserve(declared, most)
        try:
            yield size
        finally:
            self._receiving -= size

    async def _reserve(self, declared: int, most: int) -> int:
        async with self._reserving:
            receiving = self._receiving  # read first: a file that is kept meanwhile counts at least once
            kept = [entry.bytes for entry in (await self._store.imports()).values()]
            if declared in kept:  # it may be the same file, sent again to repair it, even if there is no room
                kept.remove(declared)
            free = self._limit - sum(kept) - receiving
            size = declared or max(1, min(most, free))
            if size > free:
                raise self.full(declared, free)
            self._receiving += size
            return size

    async def require(self, digest: str, size: int) -> None:
        """Raise `imports_full` unless a file of this size fits beside the other generators that are kept."""
        kept = (await self._store.imports()).items()
        free = self._limit - sum(entry.bytes for other, entry in kept if other != digest)
        if size > free:
            raise self.full(size, free)

    def full(self, size: int, free: int) -> ServiceError:
        """The error for a file of this size, or 0 if that is unknown, when there is less room."""
        of = f" of {size:,} bytes" if size else ""
        detail = (
            f"The file{of} does not fit: {max(0, free):,} of the {self._limit:,} bytes for imported "
            "generators are neither used nor reserved; free some with DELETE /models/sha256:…, wait for "
            "other imports to end, or raise DCGAN_IMPORTS_BYTES."
        )
        return ServiceError(ErrorCode.IMPORTS_FULL, detail)
