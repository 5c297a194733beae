"""Renews a lease while its owner is blocked, for example by a disk write that outlasts the lease."""

import contextlib
import threading
import time

from redis.exceptions import RedisError

from contract.owning import Lease, beat
from worker.store import Store


class LeaseRenewer(threading.Thread):
    """Beats in the owner's place for a limited time: an owner blocked for longer is as good as dead."""

    def __init__(self, lease: Lease, store: Store, *, every_seconds: float, at_most_seconds: float) -> None:
        super().__init__(name="lease renewer", daemon=True)
        self._lease = lease
        self._store = store
        self._every_seconds = every_seconds
        self._at_most_seconds = at_most_seconds
        self._beaten_at = time.monotonic()
        self._over = threading.Event()

    def owner_beats(self) -> None:
        """Note that the owner is not blocked."""
        self._beaten_at = time.monotonic()

    def run(self) -> None:
        while not self._over.wait(self._every_seconds):
            silent_seconds = time.monotonic() - self._beaten_at
            if 1.5 * self._every_seconds < silent_seconds < self._at_most_seconds:
                with contextlib.suppress(RedisError):
                    self._store.run(beat(self._lease, None))

    def end(self) -> None:
        """Stop renewing: the ownership is over, or nearly."""
        self._over.set()
