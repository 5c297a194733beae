"""Measures how fast the samplers answer, over the time in which requests waited for them."""

import math

_WINDOW_SECONDS = 2.0
_BATCH_SECONDS = 0.1
"""What is answered within this is of one batch: the gateway reads 256 answers in less."""


class Throughput:
    """Work per second, as an average that decays exponentially over a few seconds of waiting.

    In it, a moment t seconds ago has the weight e^(-t/window)/window. So a batch that was waited for during s
    seconds adds its work/s with the weight 1 - e^(-s/window), and leaves e^(-s/window) of theirs to those
    before it. There, s is at most the window: one long wait, perhaps for samplers that were away, does not
    outweigh all the rest. The sum is divided by that of the weights, which approaches 1.

    Idle time does not count, so a quiet service does not mistake its few requests for its capacity.
    """

    def __init__(self) -> None:
        self.per_second: float | None = None
        """None before the first answer. Computed with each answer, as each request reads it several times."""
        self._sum = 0.0  # of the batches before the last, with their weights
        self._weight = 0.0
        self._held = 0  # what counts with the next answer
        self._work = 0.0  # of the last batch
        self._seconds = 0.0
        self._last_until = -math.inf
        self._measured_until = 0.0
        self._is_paused = True

    def begin(self, now: float) -> None:
        """Start measuring: requests wait from now on."""
        if self._is_paused:
            self._is_paused = False
            self._measured_until = now

    def hold(self, work: int) -> None:
        """Count work that was done in between: together with the next, over the time that both have taken."""
        if not self._is_paused:
            self._held += work

    def count(self, work: int, now: float) -> None:
        """Count work that was done; ignored while no request waits, but for the rest of a batch."""
        if now > self._last_until:
            if self._is_paused:
                return
            self._sum, self._weight = self._with_last_batch()
            self._work = self._seconds = 0.0
            self._last_until = now + _BATCH_SECONDS
        self._work += work + self._held
        self._held = 0
        self._seconds += now - self._measured_until
        self._measured_until = now
        total, weight = self._with_last_batch()
        self.per_second = total / weight if weight else None

    def pause(self) -> None:
        """Stop measuring: no request waits any more."""
        self._is_paused = True
        self._held = 0

    def _with_last_batch(self) -> tuple[float, float]:
        """The sum and the weight of all batches."""
        if not self._seconds:
            return self._sum, self._weight
        kept = math.exp(-min(self._seconds / _WINDOW_SECONDS, 1))
        rate = self._work / self._seconds
        return kept * self._sum + (1 - kept) * rate, kept * self._weight + (1 - kept)
