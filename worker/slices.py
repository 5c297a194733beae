"""When heavy portions pause for brief asks that arrive meanwhile. It knows neither Redis nor torch.

Portions are otherwise rendered to their end, so that a picture would wait for the whole of a sheet that was
begun a moment before it: tens of seconds if the generator is slow.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

SLICE_SECONDS = 0.25
"""The shortest time between two pauses."""
_RESERVE = 0.15
"""The share of its time that a portion must have left in the end: for encoding, and for wrong guesses."""
_HOPELESS = 0.75
"""Who would be late even with this share of the expected time has nothing to lose by a pause."""
_PAUSES_AHEAD = 2
"""A pause may become longer than expected; this many as long as the one before must be affordable, too."""


@dataclass(frozen=True)
class Work:
    """What waits during a pause."""

    whole_seconds: float
    """From its beginning to its end, in full batches and undisturbed."""
    share_done: float
    seconds_left: float
    """Until its first deadline."""
    enlarging_seconds: float = 0.0
    """What it takes after its end, at the same time as what follows, if its pictures are enlarged."""


@dataclass
class Progress:
    """Of a portion that is being rendered."""

    passes: int
    """How many it takes."""
    begun_at: float
    """Later by every pause since, so that the time from then on is its own."""
    passed: int = 0

    @property
    def share(self) -> float:
        return self.passed / self.passes


class Slices:
    """Divides a sampler's time between heavy portions and pauses, which get half of it at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._resumed_at = clock()
        self.last_pause_seconds = 0.0
        self._slowness = 1.0  # what rendering took when it was last measured, per second that it should take
        self.is_paused = False
        self._is_refused = False

    def begin(self) -> None:
        """Note that everything that waits was just seen."""
        self._resumed_at = self._clock()
        self.last_pause_seconds = 0.0

    @property
    def is_over(self) -> bool:
        """Whether it is time for a pause."""
        return self._clock() - self._resumed_at >= max(SLICE_SECONDS, self.last_pause_seconds)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Measure a pause."""
        began_at = self._clock()
        self.is_paused = True
        self._is_refused = False
        try:
            yield
        finally:
            self.is_paused = False
            self._resumed_at = self._clock()
            if not self._is_refused:
                self.last_pause_seconds = self._resumed_at - began_at

    def refuse(self) -> None:
        """End a pause in which nobody may be served: its length says nothing of the next."""
        self._is_refused = True

    def endanger(self, works: Sequence[Work], spent_seconds: float, coming_seconds: float) -> bool:
        """Whether one of these, rendered in this order, could miss its deadline by a pause now.

        The part of the first that is done has taken `spent_seconds`. What is to be rendered in the pause
        should take `coming_seconds`.
        """
        if works and works[0].share_done:
            self._slowness = spent_seconds / (works[0].whole_seconds * works[0].share_done)
        pause_seconds = _PAUSES_AHEAD * max(SLICE_SECONDS, self.last_pause_seconds)
        pause_seconds += self._slowness * coming_seconds
        needed = 0.0
        for work in works:
            seconds = self._slowness * work.whole_seconds
            needed += seconds * (1 - work.share_done)
            spare_seconds = pause_seconds + _RESERVE * seconds + work.enlarging_seconds
            if _HOPELESS * needed <= work.seconds_left < needed + spare_seconds:
                return True
        return False
