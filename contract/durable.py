"""How the volume keeps a file: after a crash it is there whole, or as it was; and why it may take none."""

import contextlib
import errno
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

Lack = Literal["volume_full", "volume_read_only", "volume_failing"]

LACKS: dict[int | None, Lack] = {
    errno.ENOSPC: "volume_full",
    errno.EDQUOT: "volume_full",
    errno.EROFS: "volume_read_only",
    errno.EIO: "volume_failing",
}
"""Why a volume takes no file, by errno: no fault of who writes, and it may pass."""

Write = Callable[[Path, bytes], None]
"""Writes a file durably, or raises OSError and leaves what was there."""

Insist = Callable[[Callable[[], None], Path, int], None]
"""Carries out a write of so many bytes to a path: `once`, or until the volume takes it."""


def write_durably(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that after a crash it is there whole, or as it was: temp, fsync, rename, fsync(dir)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_durably(path, content, mode=mode)


def replace_durably(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Likewise, in a directory that must be there: FileNotFoundError where it was deleted meanwhile."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with published(path, temporary, mode=mode) as file:
        file.write(content)


@contextlib.contextmanager
def published(path: Path, temporary: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write: it lies at `path`, whole, once the block has ended; if that breaks off, it is gone."""
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        publish_durably(temporary, path)
    finally:
        with contextlib.suppress(OSError):  # a volume gone read-only keeps it; the first error is told
            temporary.unlink(missing_ok=True)


def once(write: Callable[[], None], path: Path, size_bytes: int) -> None:
    """The patience of who has nobody to tell: one try."""
    del path, size_bytes
    write()


def publish_durably(temporary: Path, path: Path) -> None:
    """Rename a file that is already fsynced to its final name, and make the name last."""
    temporary.replace(path)
    sync_directory(path.parent)


def remove_durably(path: Path) -> None:
    """Remove a file, if it is there, so that no crash brings it back."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory last."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, value: object) -> None:
    """Write JSON durably."""
    write_durably(path, as_json(value))


def as_json(value: object) -> bytes:
    """The JSON of which equal values have the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
