"""Records that this worker could not work on. Another may, and this one retries them later."""

import time
from collections.abc import Callable

SET_ASIDE_SECONDS = 30.0


class SetAside:
    """Their ids, so that they do not block the claiming of others. Used by one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, record_id: str) -> None:
        """Set it aside from now on."""
        self._until[record_id] = self._clock() + SET_ASIDE_SECONDS

    def ids(self) -> list[str]:
        """What is set aside now."""
        now = self._clock()
        self._until = {record_id: until for record_id, until in self._until.items() if until > now}
        return list(self._until)
