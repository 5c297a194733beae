"""Standard output of the launcher. Whoever reads it may leave or stop reading; the stack goes on."""

import contextlib
import functools
import os
import queue
import sys
import threading
import time

KEPT_LINES = 1_000
"""What waits for a reader; more is dropped."""

_waiting: "queue.Queue[str]" = queue.Queue(KEPT_LINES)


def say(text: str) -> None:
    """Have it written. Never blocks: what nobody reads is dropped in the end. Not for signal handlers."""
    _writer()
    with contextlib.suppress(queue.Full):
        _waiting.put_nowait(text)


def fall_silent(seconds: float) -> None:
    """Wait until all has been written, or so long."""
    until = time.monotonic() + seconds
    while _waiting.unfinished_tasks and time.monotonic() < until:
        time.sleep(0.01)


class Console:
    """`say` for a logging handler."""

    def write(self, text: str) -> None:
        say(text)


@functools.cache
def _writer() -> threading.Thread:
    thread = threading.Thread(target=_write, name="console", daemon=True)
    thread.start()
    return thread


def _write() -> None:
    """Past Python's buffer, whose lock a write that blocks would hold at the end of the process."""
    while True:
        text = _waiting.get().encode(errors="replace")
        with contextlib.suppress(OSError):  # nobody reads any more, or a disk is full
            while text:
                text = text[os.write(sys.stdout.fileno(), text) :]
        _waiting.task_done()
