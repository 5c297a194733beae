"""Standard output of the launcher. Whoever reads it may leave (`dcgan up | head -1`); the stack goes on."""

import contextlib
import os
import sys


def say(text: str) -> None:
    """Write and flush; what cannot be written is dropped, so that no process blocks on a full pipe."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_from_now_on()
    except OSError:  # a full disk: it may have room again
        pass


class Console:
    """`say` for a logging handler."""

    def write(self, text: str) -> None:
        say(text)


def _discard_from_now_on() -> None:
    """Else Python, which flushes once more at its end, would complain and exit with 120."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
