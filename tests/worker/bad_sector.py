"""A volume that is well, but refuses one read."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from contract.job import Shortage
from contract.volume import Volume
from worker.room import Room

T = TypeVar("T")


class BadSector(Room):
    """The room of a child. Refuses the read of this number, counted from 0, so many times, or for ever."""

    def __init__(
        self,
        volume: Volume,
        tell: Callable[[Shortage | None], None],
        rest: Callable[[float], None],
        *,
        number: int,
        times: float,
    ) -> None:
        super().__init__(volume, tell, rest)
        self._before = number
        self._times = times

    def read(self, read: Callable[[], T], path: Path) -> T:
        is_bad = self._before == 0
        self._before -= 1

        def read_once() -> T:
            if is_bad and self._times > 0:
                self._times -= 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return read()

        return super().read(read_once, path)
