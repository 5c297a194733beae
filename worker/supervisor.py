"""Claims records of one kind, one at a time, and carries each out; for training and preparing alike."""

import logging
from collections.abc import Callable
from functools import partial

from redis.exceptions import RedisError

from contract import owning, reaping
from contract.job import Record
from contract.keys import RecordKind
from contract.owning import Lease, Verdict
from contract.reaping import Burial
from contract.warming import PATIENCE_SECONDS
from worker.child import UnfitError
from worker.child_group import ChildGroup
from worker.facts import Facts, write_burial
from worker.orders import ForeignSpecError
from worker.outcomes import in_words
from worker.ownership import Ownership, WriteOrder
from worker.process import WorkerProcess
from worker.set_aside import SetAside
from worker.warming import Warming

logger = logging.getLogger(__name__)


class Supervisor:
    """Works through the queue of one kind of record, each in child processes of its own."""

    def __init__(
        self,
        kind: RecordKind,
        worker: WorkerProcess,
        start_children: Callable[[], ChildGroup],
        devices: int,
        write_order: WriteOrder,
    ) -> None:
        self._kind = kind
        self._worker = worker
        self._start_children = start_children
        self._devices = devices
        self._write_order = write_order
        self._set_aside = SetAside()
        patience_seconds = min(PATIENCE_SECONDS, worker.settings.heartbeat_seconds)
        self._warming = Warming(worker.store, worker.settings.sampling_url, patience_seconds)

    def work_through_queue(self) -> None:
        """Claim and carry out records until none is queued, the volume is away, or the worker is to stop.

        The message that wakes it is only a doorbell: losing or repeating one changes nothing.
        """
        while not self._worker.stop.is_set() and not self._worker.watch.trouble:
            group = self._start_children()  # before the claim: forking may take longer than a lease
            try:
                if not self._carry_out_next(group):
                    return
            finally:
                group.end()  # until then, they may hold memory and devices

    def _carry_out_next(self, group: ChildGroup) -> bool:
        claim = self._worker.store.run(
            owning.claim(
                self._kind,
                self._worker.name,
                lease_seconds=self._worker.settings.lease_seconds,
                devices=self._devices,
                set_aside=self._set_aside.ids(),
            )
        )
        if claim is None:
            return False
        lease = Lease(self._kind, claim.id, claim.token, self._worker.settings.lease_seconds)
        if not self._confirm(lease):
            return True
        try:
            self._see_through(lease, claim.record, group)
        except (OSError, UnfitError) as error:
            self._leave_to_others(lease, error)
            return False  # it may be this host's fault, and then every other record would fail as well
        except ForeignSpecError as error:
            self._leave_to_others(lease, error)
        except RedisError:
            raise
        except Exception as error:
            logger.exception("%s: given up", lease.id)
            self._bury(lease, in_words(error))
        return True

    def _confirm(self, lease: Lease) -> bool:
        """Whether the claim still holds. From now on, a death counts.

        If this fails, the work begins nevertheless, and its next beat confirms the claim.
        """
        try:
            return self._worker.store.run(owning.beat(lease)) is not Verdict.LOST
        except RedisError as error:
            logger.warning("%s: Redis is away (%s); the work begins", lease.id, error)
            return True

    def _leave_to_others(self, lease: Lease, why: Exception) -> None:
        """Set it aside for a while. Its owner has handed it back."""
        logger.error("%s: set aside: %s", lease.id, why)
        self._set_aside.add(lease.id)

    def _bury(self, lease: Lease, cause: str) -> None:
        burial = self._worker.store.run(reaping.died(lease, cause, self._worker.settings.max_deaths))
        if isinstance(burial, Burial):
            self._worker.later.write(partial(write_burial, self._worker.volume, burial))

    def _see_through(self, lease: Lease, record: Record, group: ChildGroup) -> None:
        logger.info("%s: claimed, attempt %d", lease.id, record.attempt)
        Ownership(lease, record, group, self._worker, self._warming).carry_out(self._order)

    def _order(self, record: Record, facts: Facts) -> tuple[str, str]:
        """The order for a record. If none can be written, no child has died."""
        try:
            return self._write_order(record, facts)
        except ForeignSpecError:
            raise
        except Exception as error:
            logger.exception("%s: its order cannot be written", record.id)
            raise UnfitError(f"its order cannot be written: {in_words(error)}") from error
