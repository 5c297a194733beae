"""Runs work that a hanging volume may block in a thread of its own, and waits for it only so long."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait


class Aside:
    """One piece of work at a time. Used by one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: Future[None] | None = None
        self._began_at = 0.0

    def carry_out(self, work: Callable[[], None], patience_seconds: float) -> float | None:
        """Do the work, unless the last one has not ended; raise what it raises.

        Returns None once it has ended. Otherwise it goes on, and these are the seconds since it began.
        """
        if self._last is None or self._last.done():
            self._last, self._began_at = Future(), time.monotonic()
            threading.Thread(target=_run, args=(work, self._last), name=self._name, daemon=True).start()
        if wait((self._last,), patience_seconds).not_done:
            return time.monotonic() - self._began_at
        self._last.result()
        return None


def _run(work: Callable[[], None], outcome: "Future[None]") -> None:
    try:
        work()
    except Exception as error:
        outcome.set_exception(error)
    else:
        outcome.set_result(None)
