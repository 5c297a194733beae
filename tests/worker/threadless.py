"""A process that can start no thread, as where its limit is reached."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

TOO_LARGE = 2**47 - 4096
"""As a stack: more than the address space has."""


@contextmanager
def no_threads() -> Iterator[None]:
    """Within this block, starting a thread fails."""
    usual = threading.stack_size(TOO_LARGE)
    try:
        yield
    finally:
        threading.stack_size(usual)
