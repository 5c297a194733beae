"""Receives a body that is a file: checks its type, limits its size, and streams it to the volume."""

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request

from contract.errors import ErrorCode, ServiceError
from contract.volume import Volume
from service.on_volume import OnVolume

_WRITE_BYTES = 2**20


def require_type(request: Request, types: tuple[str, ...], wanted: str) -> None:
    """Raise unless the body's Content-Type is one of these; if it has none, the first is assumed."""
    sent = request.headers.get("content-type", types[0])
    if sent.partition(";")[0].strip().lower() not in types:
        raise wrong_type(sent, wanted)


def wrong_type(sent: str, wanted: str) -> ServiceError:
    """The error for a body of the wrong Content-Type."""
    return ServiceError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type is {sent[:100]}; send {wanted}.")


async def bounded(pieces: AsyncIterator[bytes], most: int, refusal: ServiceError) -> AsyncIterator[bytes]:
    """Yield the pieces; raise `refusal` when they exceed `most` bytes."""
    received = 0
    async for piece in pieces:
        received += len(piece)
        if received > most:
            raise refusal
        yield piece


@asynccontextmanager
async def kept(
    on_volume: OnVolume,
    pieces: AsyncIterator[bytes],
    path: Path,
    see: Callable[[bytes], object] | None = None,
) -> AsyncIterator[int]:
    """Write the pieces to a new, fsynced file, which is removed when the block ends, unless it was renamed.

    Yields its size. `see` is called with every portion before it is written, off the event loop.
    """
    file = await on_volume(_create, path)
    try:
        size = await _write(on_volume, pieces, file, see)
        await on_volume(os.fsync, file.fileno())
        yield size
    finally:
        await on_volume.at_last(_discard, file, path)


def sweep(volume: Volume) -> None:
    """Remove files that a killed gateway left half-received; those still being received are locked."""
    for path in (*volume.incoming_uploads.glob("*.zip"), *volume.incoming_imports.glob("*.safetensors")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _create(path: Path) -> BinaryIO:
    file = path.open("wb")
    fcntl.flock(file, fcntl.LOCK_EX)  # a starting gateway sweeps unlocked files
    return file


def _discard(file: BinaryIO, path: Path) -> None:
    with contextlib.suppress(OSError), file:  # the next gateway that starts sweeps it
        path.unlink(missing_ok=True)


async def _write(
    on_volume: OnVolume,
    pieces: AsyncIterator[bytes],
    file: BinaryIO,
    see: Callable[[bytes], object] | None,
) -> int:
    size, buffer = 0, bytearray()
    async for piece in pieces:
        size += len(piece)
        buffer += piece
        if len(buffer) >= _WRITE_BYTES:
            await on_volume(_append, file, see, bytes(buffer))
            buffer.clear()
    await on_volume(_append, file, see, bytes(buffer))
    await on_volume(file.flush)
    return size


def _append(file: BinaryIO, see: Callable[[bytes], object] | None, content: bytes) -> None:
    if see is not None:
        see(content)
    file.write(content)
