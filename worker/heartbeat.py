"""Keeps the lease of a record: each beat reports progress, and its reply says what is wanted."""

import time

from contract import owning
from contract.job import Progress, Record, Want
from contract.owning import Lease
from worker.lease_renewer import LeaseRenewer
from worker.outbox import Outbox


class Heartbeat:
    """The owner's heartbeat. The renewer beats in its place only while the owner is blocked."""

    def __init__(
        self,
        lease: Lease,
        record: Record,
        outbox: Outbox,
        lease_renewer: LeaseRenewer,
        *,
        every_seconds: float,
    ) -> None:
        self._lease = lease
        self._outbox = outbox
        self._lease_renewer = lease_renewer
        self._every_seconds = every_seconds
        self._next = time.monotonic() + every_seconds
        self.want = record.want
        """As of the last successful beat."""
        self.progress: Progress | None = None
        """Progress that Redis has not acknowledged yet."""
        self.latest = record.progress
        """Acknowledged or not: for the facts on the volume."""

    def advance(self, progress: Progress) -> None:
        """Report this with the next beat."""
        self.progress = self.latest = progress

    @property
    def due_in_seconds(self) -> float:
        return max(0.0, self._next - time.monotonic())

    def beat_if_due(self) -> None:
        """Beat if it is time, and retry unacknowledged reports."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._every_seconds
        self._lease_renewer.owner_beats()
        progress, self.progress = self.progress, None
        self._outbox.flush()
        heard = self._outbox.tell(owning.beat(self._lease, progress))
        if isinstance(heard, Want):
            self.want = heard
        else:
            self.progress = self.progress or progress
