"""The name under which a worker owns records. After a restart it takes the same and frees what it held."""

import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from contract.keys import Role


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
        self._directory.mkdir(parents=True, exist_ok=True)
        number = 0
        while True:
            self.name = f"{self._role}-{socket.gethostname()}-{number}"
            self._file = os.open(self._directory / f"{self.name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except BlockingIOError:
                os.close(self._file)
                number += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
