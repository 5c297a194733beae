"""The bytes of an uploaded archive. That the volume refuses a read is no fault of the archive."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from contract.durable import Read

T = TypeVar("T")


class UnreadableError(Exception):
    """The volume does not give an archive back.

    Not an OSError: zipfile and its callers take one for damage, and a writer for a reason to wait.
    """


class Source:
    """An open archive, for zipfile, which reads it in one thread at a time."""

    def __init__(self, path: Path, read: Read) -> None:
        self._path = path
        self._asked = read
        self._file: BinaryIO | None = None
        self._position = 0
        self._size = self._given(lambda: path.stat().st_size)

    def read(self, size: int = -1, /) -> bytes:
        if self._position >= self._size:  # perhaps so far that no file system could seek to it
            return b""
        content = self._given(lambda: self._read(size))
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        file, self._file = self._file, None
        if file:
            with contextlib.suppress(OSError):
                file.close()

    def _given(self, read: Callable[[], T]) -> T:
        try:
            return self._asked(read, self._path)
        except OSError as error:
            raise UnreadableError(f"{self._path} cannot be read ({error.strerror})") from error

    def _read(self, size: int) -> bytes:
        """Read once. After an error the file is opened anew: to a lost mount an old descriptor stays lost."""
        try:
            if self._file is None:
                self._file = self._path.open("rb")
            self._file.seek(self._position)
            return self._file.read(size)
        except OSError:
            self.close()
            raise
