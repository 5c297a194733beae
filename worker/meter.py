"""Measures the pace in images, by a clock that may leave out interruptions."""

import math
import time
from collections.abc import Callable

MEMORY_SECONDS = 300.0


class Meter:
    """Images per second, as a mean that weights each moment by the time since the start.

    Evaluations come in bursts, rarely at first, and the first seconds are slow. A mean over the last minute
    would hold two bursts or none; a plain mean over everything would never recover from the first seconds.
    Here, second s of the first five minutes has a weight proportional to s, so that the beginning soon counts
    for nothing and a single burst never for much. From then on, past weights decay by a factor of e every
    five minutes, so that the mean follows changes in the machine's load.
    """

    def __init__(self, images_seen: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._began = self._read_at = clock()
        self._images_seen = images_seen
        self._images = self._seconds = 0.0  # weighted sums

    def update(self, images_seen: int) -> float:
        """Take a reading and return images per second, 0 before any time has passed."""
        now = self._clock()
        kept = _kept(self._read_at - self._began, now - self._began)
        self._images = self._images * kept + (images_seen - self._images_seen)
        self._seconds = self._seconds * kept + (now - self._read_at)
        self._read_at, self._images_seen = now, images_seen
        return self._images / self._seconds if self._seconds > 0 else 0.0


def _kept(before: float, now: float) -> float:
    """The factor by which past weights shrink from one age of the run to the next."""
    return min(before / now, math.exp((before - now) / MEMORY_SECONDS)) if now > 0 else 0.0
