"""Runs work that a hanging volume may block in a thread of its own, and waits for it only so long."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait

from contract.volume_watch import PATIENCE_SECONDS

HANG_SECONDS = PATIENCE_SECONDS
"""What takes longer hangs."""


class Aside:
    """One piece of work at a time. Used by one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._outcome: Future[None] | None = None
        """Of the work that was begun, until it is known."""
        self._began_at = 0.0

    def carry_out(self, work: Callable[[], None], patience_seconds: float) -> float | None:
        """Do the work, or wait on for the last one if its outcome is not known yet; raise what it raises.

        Returns None once it has ended. Otherwise it goes on, and these are the seconds since it began.
        """
        if self._outcome is None:
            self._outcome, self._began_at = _begin(work, self._name), time.monotonic()
        if wait((self._outcome,), patience_seconds).not_done:
            return time.monotonic() - self._began_at
        outcome, self._outcome = self._outcome, None
        outcome.result()
        return None


def unless_it_hangs(work: Callable[[], None]) -> None:
    """Do the work and raise what it raises, or leave it behind: it then ends once the volume answers."""
    try:
        outcome = _begin(work, "aside")
    except RuntimeError:  # no thread is available: only a volume that hangs needs one
        work()
        return
    if not wait((outcome,), HANG_SECONDS).not_done:
        outcome.result()


def _begin(work: Callable[[], None], name: str) -> Future[None]:
    """Start the work in a thread of this name; RuntimeError if none is available."""
    outcome: Future[None] = Future()
    threading.Thread(target=_run, args=(work, outcome), name=name, daemon=True).start()
    return outcome


def _run(work: Callable[[], None], outcome: Future[None]) -> None:
    try:
        work()
    except Exception as error:
        outcome.set_exception(error)
    else:
        outcome.set_result(None)
