"""Notices that reads of the volume hang, so that nobody waits for what needs another one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ErrorCode, ServiceError

HANG_SECONDS = 15.0
"""What takes longer hangs; half of what a gateway waits for a picture by default."""
SLOWEST_BYTES_PER_SECOND = 20e6
"""Of a disk that is only slow, and of taking the file in: large ones have so much more time."""


@dataclass
class _Read:
    begun_at: float
    seconds: float
    """After which it hangs."""


class Reads:
    """The reads that have begun and not ended. Used by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._under_way: dict[int, _Read] = {}

    @contextmanager
    def one(self, path: Path) -> Iterator[None]:
        """One read of a file."""
        read = _Read(self._clock(), HANG_SECONDS)
        self._under_way[id(read)] = read
        try:
            with suppress(OSError):
                read.seconds += path.stat().st_size / SLOWEST_BYTES_PER_SECOND
            yield
        finally:
            del self._under_way[id(read)]

    def require_none_hangs(self) -> None:
        """Raise `volume_failing` while one hangs: what waits behind it might wait for ever."""
        now = self._clock()
        for read in tuple(self._under_way.values()):
            seconds = now - read.begun_at
            if seconds > read.seconds:
                detail = (
                    "This generator is not in memory, and none can be loaded now: a read of the volume has"
                    f" not ended for {seconds:.0f} s. See to the volume, then try again; restart the samplers"
                    " if other requests are answered from it."
                )
                raise ServiceError(ErrorCode.VOLUME_FAILING, detail)
