"""An owner's reports to Redis: in order, each retried until it is acknowledged, superseded or futile."""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import redis

from contract import owning
from contract.command import Command
from contract.events import EventType
from contract.job import CheckpointFact, Shortage, SnapshotFact
from contract.owning import Lease, Verdict
from contract.volume import is_gone
from worker.process import WorkerProcess

logger = logging.getLogger(__name__)

T = TypeVar("T")

REMIND_SECONDS = 600.0
"""A shortage that lasts is reported again after this time."""
MISSING_LEASES = 3
"""A record that is still missing this many leases after the rebuild could not be rebuilt."""


@dataclass(frozen=True)
class _Report:
    """A command to send, and a callback for its acknowledgement."""

    command: Command[Verdict]
    then: Callable[[], None] | None
    snapshot: SnapshotFact | None
    is_of_wait: bool
    """Whether it only repeats what the work waits for, and the newest alone counts."""


class Outbox:
    """Survives a Redis that is away, and one that was emptied, whose rebuild it waits for."""

    def __init__(self, lease: Lease, snapshot: SnapshotFact | None, worker: WorkerProcess) -> None:
        self._lease = lease
        self._worker = worker
        self._snapshot = snapshot
        """The last one that Redis has acknowledged."""
        self._reports = 0
        self.shortage: Shortage | None = None
        """What the work waits for, as last reported."""
        self._warned_at = 0.0
        self._unheard: deque[_Report] = deque()
        self.is_lost = False
        """Whether another worker owns the record, or it was deleted: nothing more may be written."""
        self._is_missing = False
        """Whether Redis did not know the record when it last replied."""
        self._may_be_rebuilt = False
        """Whether the record may lack what the work waits for, which no rebuild restores."""

    def lose(self) -> None:
        """Mark the record as lost: a newer owner was found elsewhere."""
        self.is_lost = True

    def report(
        self,
        *,
        fields: Mapping[str, str] | None = None,
        checkpoint: CheckpointFact | None = None,
        event: tuple[EventType, Mapping[str, Any]] | None = None,
        then: Callable[[], None] | None = None,
        snapshot: SnapshotFact | None = None,
    ) -> None:
        """Report facts now, or as soon as Redis is back; `then` is called once they are acknowledged.

        A newer `snapshot`, or a newer wait alone, replaces earlier ones whose reports were never sent.
        """
        is_of_wait = event is None and fields is not None and fields.keys() == {"waiting_for"}
        if snapshot:
            self._drop_untried(lambda report: report.snapshot is not None)
        elif is_of_wait:
            self._drop_untried(lambda report: report.is_of_wait)
        self._reports += 1
        command = owning.report(self._lease, self._reports, fields=fields, checkpoint=checkpoint, event=event)
        self._unheard.append(_Report(command, then, snapshot, is_of_wait))
        self.flush()

    def _drop_untried(self, is_replaced: Callable[[_Report], bool]) -> None:
        """Drop reports that a newer one replaces, but not the first: Redis may have received it."""
        self._unheard = deque(
            report for place, report in enumerate(self._unheard) if place == 0 or not is_replaced(report)
        )

    def warn(self, code: str, detail: str, fields: Mapping[str, str] | None = None) -> None:
        """Log a problem and report it to the record's readers."""
        logger.warning("%s: %s: %s", self._lease.id, code, detail)
        self.report(fields=fields, event=(EventType.WARNING, {"code": code, "detail": detail}))

    def lack(self, shortage: Shortage | None) -> None:
        """Report what the work waits for. A shortage's start, end and changed needs are events."""
        before, self.shortage = self.shortage, shortage
        fields = {"waiting_for": shortage.model_dump_json() if shortage else "null"}
        if shortage is None:
            if before:
                seconds = time.time() - before.since_ms / 1000
                detail = f"The wait for the volume is over after {seconds:.0f} s."
                self.warn("volume_writable", detail, fields)
        elif self._is_news(shortage, before):
            self._warned_at = time.monotonic()
            self.warn(shortage.code, shortage.detail, fields)
        elif shortage != before or self._may_be_rebuilt:
            self._may_be_rebuilt = False
            self.report(fields=fields)

    def _is_news(self, shortage: Shortage, before: Shortage | None) -> bool:
        if before is None or (shortage.code, shortage.needed_bytes) != (before.code, before.needed_bytes):
            return True
        return time.monotonic() - self._warned_at > REMIND_SECONDS

    @property
    def is_heard(self) -> bool:
        """Whether Redis has acknowledged everything."""
        return not self._unheard

    @property
    def named_snapshots(self) -> list[SnapshotFact]:
        """Redis refers to one of these: it may have received the one last sent, and the reply was lost."""
        tried = self._unheard[0].snapshot if self._unheard else None
        return [snapshot for snapshot in (self._snapshot, tried) if snapshot]

    def flush(self) -> None:
        """Send what has not been acknowledged. The work goes on while Redis is away."""
        while self._unheard and not self.is_lost:
            report = self._unheard[0]
            if self.tell(report.command) is not Verdict.ACCEPTED:
                return
            self._unheard.popleft()
            self._snapshot = report.snapshot or self._snapshot
            if report.then:
                report.then()

    def tell(self, command: Command[T | Verdict]) -> T | Verdict:
        """Send a command once. UNKNOWN if Redis is away, or was emptied and is not rebuilt yet."""
        try:
            heard = self._worker.store.run(command)
        except redis.RedisError as error:
            logger.warning("%s: Redis is away (%s); the work goes on", self._lease.id, error)
            self._is_missing, self._may_be_rebuilt = False, True
            return Verdict.UNKNOWN
        self._is_missing = heard is Verdict.UNKNOWN
        self._may_be_rebuilt |= self._is_missing
        if heard is Verdict.LOST or (self._is_missing and self._is_deleted()):
            self.is_lost = True
            return Verdict.LOST
        return heard

    def _is_deleted(self) -> bool:
        """Whether no rebuild will restore the record. False if that cannot be determined."""
        volume, record_id = self._worker.volume, self._lease.id
        with contextlib.suppress(OSError):
            return volume.tombstone(record_id).exists() or is_gone(volume.home(record_id))
        return False

    def insist(self, command: Command[T | Verdict]) -> T | Verdict:
        """Send a command after all reports, until acknowledged; a stopping worker leaves that to the reaper.

        If the records were rebuilt without this one, its outcome is only on the volume.
        """
        give_up_at = time.monotonic() + self._worker.settings.stop_grace_seconds
        last_seen = time.monotonic()
        while True:
            stand = self._records_stand()
            self.flush()
            if self.is_lost:
                return Verdict.LOST
            heard = Verdict.UNKNOWN if self._unheard else self.tell(command)
            if heard is not Verdict.UNKNOWN:
                return heard
            if not (stand and self._is_missing):
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > MISSING_LEASES * self._lease.seconds:
                logger.error("%s: it was not rebuilt; what became of it is on the volume", self._lease.id)
                return heard
            if self._worker.stop.is_set() and time.monotonic() > give_up_at:
                logger.error("%s: could not be handed back; its lease will lapse", self._lease.id)
                return heard
            time.sleep(0.5)

    def _records_stand(self) -> bool:
        try:
            return self._worker.store.has_epoch()
        except redis.RedisError:
            return False
