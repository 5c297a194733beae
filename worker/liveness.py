"""Whether a sampler really renders: updated after every forward pass, read with every sign of life."""

import time
from collections.abc import Callable

PROBE_AFTER_SECONDS = 5.0
"""A sampler that has rendered nothing for this long checks whether it still can."""
STALE_SECONDS = 30.0
"""Without a forward pass for longer it does not count as a sampler: no one waits that long for a picture."""
DEAD_SECONDS = 120.0
"""Without one for longer it exits, to be restarted."""


class Liveness:
    """The last successful forward pass. Written by one thread, read by another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._problem: str | None = "it has not rendered anything yet"

    def record_success(self) -> None:
        """Record a successful forward pass."""
        self._last = self._clock()
        self._problem = None

    def record_failure(self, problem: str) -> None:
        """Record a failed probe."""
        self._problem = problem

    @property
    def wants_probe(self) -> bool:
        """Whether the last success is too old, or none has followed the start or a failure."""
        return self._problem is not None or self._silence() > PROBE_AFTER_SECONDS

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
        return self._clock() - self._last
