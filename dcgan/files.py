"""Files that are sent, exactly as long as announced, and files that are written, whole or not at all."""

import errno
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dcgan.errors import DcganError

CHUNK_BYTES = 2**16


@contextmanager
def naming(file: Path | str) -> Iterator[None]:
    """Have OS errors name the file: reads and writes do not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


@contextmanager
def opened(path: Path | str) -> Iterator[tuple[Iterator[bytes], int]]:
    """The contents of a regular file, and its size. Opening a pipe would block until it has a writer.

    Raises:
        DcganError: `not_a_file` if there is none, or it cannot be opened.
    """
    file = Path(path)
    if file.exists() and not file.is_file():
        raise DcganError("not_a_file", f"{file} is not a regular file; only such a one has a size to send.")
    try:
        stream = file.open("rb")
    except OSError as error:
        raise DcganError("not_a_file", f"{file} cannot be sent: {error.strerror}.") from error
    with stream:
        size = os.fstat(stream.fileno()).st_size
        yield _exactly(size, stream, file), size


@contextmanager
def written(target: Path) -> Iterator[IO[bytes]]:
    """A file that replaces the target if the block succeeds. OS errors name the target.

    Stdout, devices and pipes are not replaced, but written to; of a link, what it points to is replaced.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if is_stdout(target):
        with naming(target):
            if sys.stdout is None:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    if target.exists() and not target.is_file():
        with naming(target), target.open("wb") as file:
            yield file
        return
    place = target.resolve()
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    try:
        with naming(target):
            with temporary.open("wb") as file:
                yield file
            temporary.replace(place)
    finally:
        with suppress(OSError):
            temporary.unlink()


def is_stdout(target: Path) -> bool:
    """Whether it means stdout, by whatever name: `-`, `/dev/stdout`, or the file it is redirected to."""
    if target == Path("-"):
        return True
    with suppress(AttributeError, OSError, ValueError):  # there may be no stdout, or it may be no file
        return os.path.samestat(target.stat(), os.fstat(sys.stdout.fileno()))
    return False


def _exactly(size: int, stream: IO[bytes], file: Path) -> Iterator[bytes]:
    """The file's bytes, if there are still as many. OS errors name the file.

    The last chunk waits until it is known to be the last: the service never takes a part for the whole.
    """
    left = size
    while left:
        chunk = _read(stream, min(left, CHUNK_BYTES), file)
        left -= len(chunk)
        if not chunk or (not left and _read(stream, 1, file)):
            detail = f"{file} changed while it was being sent; wait until it is complete, then send it again."
            raise DcganError("file_changed", detail)
        yield chunk


def _read(stream: IO[bytes], size: int, file: Path) -> bytes:
    with naming(file):
        return stream.read(size)
