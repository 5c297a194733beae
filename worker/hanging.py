"""Notices that reads of the volume hang, so that nobody waits for what needs another one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from contract.errors import ErrorCode, ServiceError

HANG_SECONDS = 15.0
"""What takes longer hangs; half of what a gateway waits for a picture by default."""


class Reads:
    """The reads that have begun and not ended. Used by any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun_at: dict[object, float] = {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """One read."""
        read = object()
        self._begun_at[read] = self._clock()
        try:
            yield
        finally:
            del self._begun_at[read]

    def require_none_hangs(self) -> None:
        """Raise `volume_failing` while one hangs: what waits behind it might wait for ever."""
        seconds = self._clock() - min(tuple(self._begun_at.values()), default=self._clock())
        if seconds > HANG_SECONDS:
            detail = (
                "This generator is not in memory, and none can be loaded now: the volume has not answered for"
                f" {seconds:.0f} s. See to the volume, then try again; restart the samplers if other requests"
                " are answered from it."
            )
            raise ServiceError(ErrorCode.VOLUME_FAILING, detail)
