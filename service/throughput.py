"""Measures how fast the samplers answer, over the time in which requests waited for them."""

import math

_WINDOW_SECONDS = 2.0


class Throughput:
    """Work per second, as an average that decays exponentially over a few seconds of waiting.

    Idle time does not count, so a quiet service does not mistake its few requests for its capacity.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._work = 0.0  # both decay at the same rate, so their quotient is the average
        self._seconds = 0.0

    @property
    def per_second(self) -> float | None:
        """None before the first answer."""
        return self._work / self._seconds if self._work and self._seconds else None

    def begin(self, now: float) -> None:
        """Start measuring: requests wait from now on."""
        if self._since is None:
            self._since = now

    def count(self, work: int, now: float) -> None:
        """Count work that was done; ignored while no request waits."""
        if self._since is None:
            return
        seconds = now - self._since
        kept = math.exp(-seconds / _WINDOW_SECONDS)
        self._work = self._work * kept + work
        self._seconds = self._seconds * kept + seconds
        self._since = now

    def pause(self) -> None:
        """Stop measuring: no request waits any more."""
        self._since = None
