"""Durable file writes, which survive a crash complete or not at all, and why the volume may refuse them."""

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeVar

T = TypeVar("T")
Lack = Literal["volume_full", "volume_read_only", "volume_failing"]

LACKS: dict[int | None, Lack] = {
    errno.ENOSPC: "volume_full",
    errno.EDQUOT: "volume_full",
    errno.EROFS: "volume_read_only",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT),
        "volume_failing",
    ),
    **dict.fromkeys(
        (errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH), "volume_failing"
    ),
}
"""Why a volume refuses to be used, by errno: conditions that are not the user's fault and may pass.

Those after EIO are a network's: a server that restarted or is down, or a mount that lost its own.
"""


def lack(error: BaseException | None) -> Lack | None:
    """Why the volume refuses, if that is what this error says."""
    return LACKS.get(error.errno) if isinstance(error, OSError) else None


Write = Callable[[Path, bytes], None]
"""Writes a file durably, or raises OSError and leaves what was there."""

RequireRoom = Callable[[], None]
"""Raises OSError if the volume has no room for what is about to be written."""

Insist = Callable[[Callable[[RequireRoom], None], Path, int], None]
"""Carries out a write of this many bytes to a path: `once`, or until the volume accepts it.

The write requires the room itself, once it knows that it is still needed and has removed what it can.
"""


class Read(Protocol):
    """Carries out a read of a path: `at_once`, or until the volume gives it back or it is given up."""

    def __call__(self, read: Callable[[], T], path: Path, /) -> T: ...


def write_durably(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that a crash leaves the new or the old one whole: temp, fsync, rename, fsync(dir).

    Creates its directory if need be, but none above that: FileNotFoundError if there is none.
    """
    path.parent.mkdir(exist_ok=True)
    replace_durably(path, content, mode=mode)


def replace_durably(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Like `write_durably`, in an existing directory: FileNotFoundError if that has been deleted."""
    with published(path, own_temporary(path), mode=mode) as file:
        file.write(content)


def own_temporary(path: Path) -> Path:
    """A name beside this one that no other process uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


@contextlib.contextmanager
def published(path: Path, temporary: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file that appears whole at `path` when the block ends, and is removed if the block fails."""
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish_durably(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # a read-only volume keeps it; the first error is raised
            temporary.unlink(missing_ok=True)


def once(write: Callable[[RequireRoom], None], path: Path, size_bytes: int) -> None:
    """Try once: for writers that cannot report a wait."""
    del path, size_bytes
    write(lambda: None)


def at_once(read: Callable[[], T], path: Path) -> T:
    """Try once: for readers that cannot report a wait."""
    del path
    return read()


def publish_durably(temporary: Path, path: Path) -> None:
    """Rename a file that is already fsynced to its final name, durably."""
    temporary.replace(path)
    sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Remove a file, if it exists, so that no crash restores it."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Fsync a directory, so that the names in it survive a crash."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, value: object) -> None:
    """Write JSON durably, in an existing directory."""
    replace_durably(path, as_json(value))


def as_json(value: object) -> bytes:
    """Encode as canonical JSON: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
