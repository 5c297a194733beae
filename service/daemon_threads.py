"""Threads for calls that may hang: the process ends without them, unlike those of `concurrent.futures`."""

import errno
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Carries out calls in the order in which one thread submits them."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._threads: list[threading.Thread] = []
        self._begun: dict[int, float] = {}
        """When each busy thread began its call."""
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._is_closed = False

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Call `work` in a thread, as soon as one is free. Until then, the future can be cancelled.

        Raises:
            BlockingIOError: there is no thread, and the process can start none.
        """
        if self._is_closed:
            raise RuntimeError("no thread is left for this call")
        if len(self._threads) < self._most:
            self._start_another()
        future: Future[T] = Future()
        self._calls.put(partial(_carry_out, work, future))
        return future

    def _start_another(self) -> None:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            if not self._threads:
                raise BlockingIOError(errno.EAGAIN, str(error)) from error
        else:
            self._threads.append(thread)

    @property
    def busy_seconds(self) -> float:
        """For how long every thread has been busy with one call; 0 while one is free or not yet started."""
        begun = list(self._begun.values())
        return time.monotonic() - max(begun) if len(begun) == self._most else 0.0

    def close(self, patience_seconds: float) -> None:
        """Wait, but only so long, for all that was submitted."""
        self._is_closed = True
        give_up = time.monotonic() + patience_seconds
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(max(0.0, give_up - time.monotonic()))

    def _run(self) -> None:
        thread = threading.get_ident()
        while call := self._calls.get():
            self._begun[thread] = time.monotonic()
            call()
            del self._begun[thread]
            del call  # an idle thread keeps nothing open


def _carry_out(work: Callable[[], T], future: Future[T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        outcome = work()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(outcome)
