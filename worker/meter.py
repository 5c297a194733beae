"""How fast the images go by, by a clock that may leave out what interrupts them."""

import math
import time
from collections.abc import Callable

MEMORY_SECONDS = 300.0


class Meter:
    """Images per second, a mean in which each moment weighs as much as it is late.

    Evaluations come in bursts, seldom at first, and the first seconds are slow. A mean over a last minute
    would hold two bursts, or none; a plain one over everything would never get over the first seconds. Here
    the moment s of the first five minutes weighs in proportion to s, so that the beginning soon counts for
    nothing and a single burst never for much. From then on the past fades, by a factor e in five minutes, so
    that a change of the machine's load is followed.
    """

    def __init__(self, images_seen: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds."""
        self._clock = clock
        self._began = self._read_at = clock()
        self._images_seen = images_seen
        self._images = self._seconds = 0.0  # weighted sums

    def update(self, images_seen: int) -> float:
        """Take a reading; images per second, 0 before any time has passed."""
        now = self._clock()
        kept = _kept(self._read_at - self._began, now - self._began)
        self._images = self._images * kept + (images_seen - self._images_seen)
        self._seconds = self._seconds * kept + (now - self._read_at)
        self._read_at, self._images_seen = now, images_seen
        return self._images / self._seconds if self._seconds > 0 else 0.0


def _kept(before: float, now: float) -> float:
    """What is left of the past's weight, from one age of the run to the next."""
    return min(before / now, math.exp((before - now) / MEMORY_SECONDS)) if now > 0 else 0.0
