"""Standard output of the launcher. A reader that leaves or stalls does not stop the stack."""

import contextlib
import functools
import os
import queue
import sys
import threading
import time

KEPT_LINES = 1_000
"""Lines buffered for a slow reader; further ones are dropped."""

_waiting: "queue.Queue[str]" = queue.Queue(KEPT_LINES)


def say(text: str) -> None:
    """Queue text for output. Never blocks: a full queue drops it. Not for signal handlers."""
    _writer()
    with contextlib.suppress(queue.Full):
        _waiting.put_nowait(text)


def fall_silent(seconds: float) -> None:
    """Wait until everything is written, for at most so many seconds."""
    until = time.monotonic() + seconds
    while _waiting.unfinished_tasks and time.monotonic() < until:
        time.sleep(0.01)


class Console:
    """A stream for logging handlers that writes with `say`."""

    def write(self, text: str) -> None:
        say(text)


@functools.cache
def _writer() -> threading.Thread:
    thread = threading.Thread(target=_write, name="console", daemon=True)
    thread.start()
    return thread


def _write() -> None:
    """Bypass Python's buffer, whose lock a blocked write would still hold when the process exits."""
    while True:
        text = _waiting.get().encode(errors="replace")
        with contextlib.suppress(OSError):  # the reader is gone, or a disk is full
            while text:
                text = text[os.write(sys.stdout.fileno(), text) :]
        _waiting.task_done()
