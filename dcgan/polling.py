"""Asks again and again, and puts up with short outages."""

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from dcgan.errors import DcganError, may_pass
from dcgan.events import PATIENCE_SECONDS

SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 1.0

T = TypeVar("T")


def polled(look: Callable[[], T], timeout_seconds: float | None = None) -> Iterator[T]:
    """Yield each result; the last is one from after the timeout.

    Raises:
        DcganError: if the service refuses, or is away for longer than `PATIENCE_SECONDS` or at the timeout.
    """
    heard_at, pause_seconds = time.monotonic(), SHORTEST_PAUSE_SECONDS
    give_up = math.inf if timeout_seconds is None else heard_at + timeout_seconds
    while True:
        try:
            seen = look()
            heard_at = time.monotonic()
        except DcganError as error:
            if not may_pass(error) or time.monotonic() > min(heard_at + PATIENCE_SECONDS, give_up):
                raise
        else:
            yield seen
            if heard_at > give_up:
                return
        time.sleep(pause_seconds)
        pause_seconds = min(1.1 * pause_seconds, LONGEST_PAUSE_SECONDS)
