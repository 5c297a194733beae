"""The name under which a worker owns records. After a restart it takes the same and frees what it held."""

import errno
import fcntl
import itertools
import logging
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from contract.keys import Role
from contract.rare_warning import RareWarning

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Slot:
    """`{role}-{host}-{n}`, the first `n` that no living process on this volume and host has taken."""

    def __init__(self, role: Role, run_directory: Path) -> None:
        self._role = role
        self._directory = run_directory
        self._file = -1
        self.name = ""

    @property
    def directory(self) -> Path:
        """An empty working directory of its own."""
        return self._directory / self.name

    def __enter__(self) -> Self:
        """Take one, once the volume allows it."""
        rarely = RareWarning(logger)
        while True:
            try:
                self._take()
            except OSError as error:
                rarely.log("waits for the volume, which refuses it a slot: %s", error)
                time.sleep(LOOK_SECONDS)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def _take(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        for number in itertools.count():
            self.name = f"{self._role}-{socket.gethostname()}-{number}"
            self._file = _open(self._directory / f"{self.name}.lock")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.directory.mkdir(exist_ok=True)
                return
            except OSError as error:
                os.close(self._file)
                if not isinstance(error, BlockingIOError):
                    raise


def _open(lock: Path) -> int:
    """Open a lock: for writing, which NFS requires; on a read-only volume only for reading, if it exists."""
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(lock, os.O_RDONLY | os.O_CREAT, 0o644)
