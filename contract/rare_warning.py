"""A warning that would fill the log if it were written each time."""

import logging
import time
from collections.abc import Callable

EVERY_SECONDS = 30.0


class RareWarning:
    """Logs what recurs many times a second at most once in `EVERY_SECONDS`. Used by one thread."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._silent_until = 0.0

    def log(self, message: str, *values: object) -> None:
        """Log this, unless something was logged a moment ago."""
        if self._clock() >= self._silent_until:
            self._silent_until = self._clock() + EVERY_SECONDS
            self._logger.warning(message, *values)
