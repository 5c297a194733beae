"""Whether a sampler really renders: updated by probes and forward passes, read with every sign of life."""

import time
from collections.abc import Callable

PROBE_EVERY_SECONDS = 10.0
"""How often a sampler checks, idle or busy, that a forward pass gives the same image as at first."""
STALE_SECONDS = 30.0
"""Without a forward pass for longer it does not count as a sampler: no one waits that long for a picture."""
DEAD_SECONDS = 120.0
"""Without one for longer it exits, to be restarted."""


class Liveness:
    """The last forward pass and the last probe. Written by one thread, read by another.

    A forward pass that returns shows that the device answers, and a probe whether it computes correctly. So a
    failed probe stands until one succeeds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_pass = self._last_probe = clock()
        self._problem: str | None = "it has not rendered anything yet"

    def record_pass(self) -> None:
        """Record a forward pass of any content."""
        self._last_pass = self._clock()

    def record_probe(self, problem: str | None) -> None:
        """Record the result of a probe: what is wrong, or None if the image was right."""
        self._last_probe = self._clock()
        self._problem = problem
        if problem is None:
            self.record_pass()

    @property
    def is_sound(self) -> bool:
        """Whether the last probe succeeded. If not, nothing should be rendered for anyone."""
        return self._problem is None

    @property
    def wants_probe(self) -> bool:
        return not self.is_sound or self._clock() - self._last_probe > PROBE_EVERY_SECONDS

    @property
    def trouble(self) -> str | None:
        """Why this does not count as a sampler, else None."""
        if self._problem is None and self._silence() > STALE_SECONDS:
            return f"its last forward pass ended {self._silence():.0f} s ago"
        return self._problem

    @property
    def is_dead(self) -> bool:
        return self._silence() > DEAD_SECONDS

    def _silence(self) -> float:
        return self._clock() - self._last_pass
