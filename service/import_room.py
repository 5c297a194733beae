"""Room for imported generators: those that are kept, and what this gateway has received of others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from contract.errors import ErrorCode, ServiceError
from service.store import Store

_RETRY_SECONDS = 10
"""A guess at how soon one of the files that are being received is refused or given up."""


@dataclass
class Incoming:
    """A file that is being received."""

    declared: int
    """Its length, or 0 if that is unknown."""
    spare: int
    """Room beyond the limit: that of a kept file of this length, as it may be this one, sent to repair it."""
    received: int = 0


class ImportRoom:
    """Limits the bytes of all imported generators together.

    A file takes room as it arrives. If it took at once what it declares, a few clients that declare much and
    send next to nothing would keep out all others.
    """

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._kept = 0
        """As of the last count, and what this gateway has imported since."""
        self._imported = 0
        """All that this gateway has imported so far."""
        self._received = 0
        """Of files that are not kept, or not yet."""

    @asynccontextmanager
    async def receiving(self, declared: int) -> AsyncIterator[Incoming]:
        """Have the room that the file takes until the end of the block, and beyond it unless that raises.

        Raises:
            ServiceError: `imports_full` if it declares more than is left, or 0 and nothing is left.
        """
        kept = await self._count()
        file = Incoming(declared, declared if declared in kept else 0)
        self._require(file, declared or 1)
        try:
            yield file
        finally:
            self._received -= file.received
        self._imported += file.received
        self._kept += file.received

    async def take(self, file: Incoming, more: int) -> None:
        """Take room for so many more bytes of the file.

        Raises:
            ServiceError: `imports_full`. Then it has given back its room: of files that do not fit together,
                the first that is refused leaves it to the others.
        """
        if more > self._free(file):
            await self._count()
        try:
            self._require(file, more)
        except ServiceError:
            self._received -= file.received
            file.received = 0
            raise
        file.received += more
        self._received += more

    async def require(self, digest: str, size: int) -> None:
        """Raise `imports_full` unless a file of this size fits beside the other generators that are kept."""
        kept = (await self._store.imports()).items()
        free = self._limit - sum(entry.bytes for other, entry in kept if other != digest)
        if size > free:
            raise self._full(size, free)

    async def _count(self) -> list[int]:
        """Count what is kept. What is imported meanwhile counts at least once."""
        before = self._imported
        sizes = [entry.bytes for entry in (await self._store.imports()).values()]
        self._kept = sum(sizes) + self._imported - before
        return sizes

    def _free(self, file: Incoming) -> int:
        return self._limit + file.spare - self._kept - self._received

    def _require(self, file: Incoming, more: int) -> None:
        free = self._free(file)
        if more > free:
            size = max(file.declared, file.received + more)
            fits_alone = size <= free + self._received
            raise self._full(
                file.declared,
                free + file.received,
                retry_after_seconds=_RETRY_SECONDS if fits_alone else None,
            )

    def _full(self, size: int, free: int, *, retry_after_seconds: float | None = None) -> ServiceError:
        """The error for a file of this size, or 0 if that is unknown, when there is less room."""
        of = f" of {size:,} bytes" if size else ""
        detail = (
            f"The file{of} does not fit: {max(0, free):,} of the {self._limit:,} bytes for imported "
            "generators are neither used nor taken by what is being received; free some with "
            "DELETE /models/sha256:…, wait for other imports to end, or raise DCGAN_IMPORTS_BYTES."
        )
        return ServiceError(ErrorCode.IMPORTS_FULL, detail, retry_after_seconds=retry_after_seconds)
