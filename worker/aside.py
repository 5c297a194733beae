"""Runs work that a hanging volume may block in a thread of its own, and waits for it only so long."""

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Aside:
    """One piece of work at a time. Used by one thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last: Future[None] | None = None

    def carry_out(self, work: Callable[[], None], patience_seconds: float) -> None:
        """Do the work, unless the last one has not ended; raise what it raises.

        Raises:
            TimeoutError: it goes on, and has not ended within these seconds.
        """
        if self._last is None or self._last.done():
            self._last = Future()
            threading.Thread(target=_run, args=(work, self._last), name=self._name, daemon=True).start()
        self._last.result(patience_seconds)


def _run(work: Callable[[], None], outcome: "Future[None]") -> None:
    try:
        work()
    except Exception as error:
        outcome.set_exception(error)
    else:
        outcome.set_result(None)
