"""The time in which a worker owns one record: it watches the child, obeys what is wanted, and leaves it."""

import contextlib
import logging
import time
from collections.abc import Callable

from contract import owning, reaping
from contract.job import Record, State, Want
from contract.owning import Lease, Verdict
from contract.reaping import Burial
from worker import aside, leftovers, link, memory
from worker.account import Account
from worker.child import UnfitError
from worker.child_group import ChildGroup
from worker.facts import Facts, Ledger, write_burial
from worker.heartbeat import Heartbeat
from worker.lease_renewer import LeaseRenewer
from worker.orders import ForeignSpecError
from worker.outbox import Outbox
from worker.outcomes import CANCELLED, SLOW_TO_STOP, Outcome, cause_of_death, handed_back, lost_files
from worker.process import WorkerProcess
from worker.room import Room
from worker.warming import Warming

logger = logging.getLogger(__name__)

WriteOrder = Callable[[Record, Facts], tuple[str, str]]
"""The work of a record as `module:function`, and the order for it as JSON, from its facts at the claim."""

POLL_SECONDS = 0.25
"""Interval between checks of what is wanted while the child is silent."""


class NoTimeToWaitError(Exception):
    """The ownership ended while waiting for room for facts."""


class Ownership:
    """The ownership of one record, from claim to leave. It ends early if another worker has a newer token."""

    def __init__(
        self, lease: Lease, record: Record, group: ChildGroup, worker: WorkerProcess, warming: Warming
    ) -> None:
        settings = worker.settings
        self._lease = lease
        self._record = record
        self._group = group
        self._worker = worker
        self._outbox = Outbox(lease, record.snapshot, worker)
        room = Room(worker.volume, self._outbox.lack, self._hold_out)
        self._ledger = Ledger(worker.volume, record, room, worker.later)
        self._lease_renewer = LeaseRenewer(
            lease,
            worker.store,
            every_seconds=settings.heartbeat_seconds,
            at_most_seconds=settings.progress_deadline_seconds,
        )
        self._heartbeat = Heartbeat(
            lease, record, self._outbox, self._lease_renewer, every_seconds=settings.heartbeat_seconds
        )
        self._account = Account(
            lease,
            worker.volume,
            record.checkpoint,
            ledger=self._ledger,
            outbox=self._outbox,
            heartbeat=self._heartbeat,
            warming=warming,
        )
        self._outcome: Outcome | None = None
        self._death: str | None = None
        self._last_words: str | None = None

    def carry_out(self, write_order: WriteOrder) -> None:
        """Run the group to its end while keeping the lease, then leave the record in its next state.

        Raises:
            OSError: the volume failed in a way that waiting does not cure.
            UnfitError: this worker cannot do the work.
            ForeignSpecError: only a worker of another version can do it. In all three cases the record was
                handed back, which does not count as a death.
        """
        with contextlib.suppress(RuntimeError):  # no thread is available: only slow disks need it
            self._lease_renewer.start()
        try:
            self._carry_out(write_order)
        except OSError as error:
            self._hand_back(f"the volume: {error}")
            raise
        except (UnfitError, ForeignSpecError) as error:
            self._hand_back(str(error))
            raise
        finally:
            self._lease_renewer.end()

    def _carry_out(self, write_order: WriteOrder) -> None:
        oom_kills = memory.oom_kills()
        exit_code = self._run_group(write_order)
        its_own = f".*-{self._lease.token}.*.tmp"  # a newer owner may be writing
        aside.unless_it_hangs(lambda: leftovers.drop_torn(self._worker.volume, self._lease.id, its_own))
        if self._outbox.is_lost:
            logger.warning("%s: it is not ours any more; nothing more is written", self._lease.id)
        elif self._outcome is None:
            gone = lost_files(self._worker.volume, self._lease.id)
            self._bury(self._death or gone or cause_of_death(exit_code, oom_kills, self._last_words))
        else:
            self._leave_as(self._outcome)

    def _run_group(self, write_order: WriteOrder) -> int:
        """Run the group until it ends, or until the ownership does; returns its exit code."""
        try:
            self._account.take_over()
            if not self._is_over():
                order = write_order(self._record, self._ledger.facts)
                self._group.begin(*order, ranks=self._record.devices)
                self._watch()
        except NoTimeToWaitError:
            assert self._is_over()
        except OSError:
            self._group.end(aside.HANG_SECONDS)
            if lost_files(self._worker.volume, self._lease.id) is None:
                raise
        finally:
            exit_code = self._group.end(aside.HANG_SECONDS)
        return exit_code

    def _hand_back(self, why: str) -> None:
        self._outbox.insist(owning.leave(self._lease, State.QUEUED, reason=why))

    def _watch(self) -> None:
        while not self._is_over():
            timeout_seconds = min(POLL_SECONDS, self._heartbeat.due_in_seconds)
            for message in self._group.messages(timeout_seconds):
                self._hear(message)
            if not self._is_over() and not self._group.is_alive:
                for message in self._group.messages(0):
                    self._hear(message)
                return
            self._heartbeat.beat_if_due()
            self._pass_on_what_is_wanted()

    def _is_over(self) -> bool:
        return self._outcome is not None or self._death is not None or self._outbox.is_lost

    def _pass_on_what_is_wanted(self) -> None:
        if self._is_over():
            return
        if self._heartbeat.want is Want.CANCEL:
            self._outcome = CANCELLED
        elif self._worker.stop.is_set() or self._heartbeat.want is Want.PAUSE:
            self._group.ask_to_stop()
            if self._group.is_slow_to_stop(self._worker.settings.stop_grace_seconds):
                self._outcome = self._handed_back() if self._outbox.shortage else SLOW_TO_STOP
        if self._worker.watch.trouble:
            self._group.listen_anew()  # a process that hangs in a read or write goes on where it was
        silent_seconds = time.monotonic() - self._group.heard_at
        if silent_seconds > self._worker.settings.progress_deadline_seconds:
            self._death = f"its process said nothing for {silent_seconds:.0f} s and was ended"

    def _hear(self, message: link.Message) -> None:
        match message:
            case link.Advanced(progress=progress):
                self._heartbeat.advance(progress)
            case link.Stopped():
                self._outcome = self._handed_back()
            case link.Finished(result=result):
                self._outcome = Outcome(State.SUCCEEDED, result=result)
            case link.Failed(problem=problem):
                self._outcome = Outcome(State.FAILED, error=problem)
            case link.Unfit(detail=detail):
                raise UnfitError(detail)
            case link.Crashed(detail=detail):
                self._last_words = detail
            case _:
                self._account.hear(message)

    def _handed_back(self) -> Outcome:
        """If the worker is not stopping, this was requested, though perhaps withdrawn since."""
        return handed_back(self._outbox.shortage, on_request=not self._worker.stop.is_set())

    def _leave_as(self, outcome: Outcome) -> None:
        try:
            self._leave(outcome)
        except NoTimeToWaitError:
            if not self._outbox.is_lost:
                assert self._outcome
                self._leave(self._outcome)

    def _leave(self, outcome: Outcome) -> None:
        """Write the final facts and leave the record.

        Cancelling and handing back wait neither for room nor for a volume that hangs, because a rebuild
        reaches the same from earlier facts and the log of events.
        """
        if self._heartbeat.progress:
            self._outbox.report(fields={"progress": self._heartbeat.progress.model_dump_json()})
        facts = {
            "state": outcome.state,
            "reason": outcome.reason,
            "error": outcome.error,
            "result": outcome.result,
            "progress": self._heartbeat.latest,
            "finished_ms": round(time.time() * 1000) if outcome.state.is_terminal else None,
        }
        if outcome.state in (State.CANCELLED, State.QUEUED):
            aside.unless_it_hangs(lambda: self._ledger.write_later(facts))
        else:
            self._account.write(facts)
        if outcome.state.is_terminal and self._ledger.facts.checkpoints:
            self._account.conclude(is_success=outcome.state is State.SUCCEEDED)
        heard = self._outbox.insist(
            owning.leave(self._lease, outcome.state, reason=outcome.reason, error=outcome.error)
        )
        if heard is Verdict.ACCEPTED:
            logger.info("%s: %s %s", self._lease.id, outcome.state, outcome.reason or "")
        else:
            logger.warning("%s: not left as %s: %s", self._lease.id, outcome.state, heard)

    def _bury(self, cause: str) -> None:
        logger.error("%s: %s", self._lease.id, cause)
        burial = self._outbox.insist(reaping.died(self._lease, cause, self._worker.settings.max_deaths))
        if isinstance(burial, Burial):
            self._worker.later.write(lambda: write_burial(self._worker.volume, burial))

    def _hold_out(self, seconds: float) -> None:
        """Keep the lease while waiting for room, and obey what is wanted."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            self._heartbeat.beat_if_due()
            if self._heartbeat.want is Want.CANCEL:
                self._outcome = CANCELLED
            elif self._worker.stop.is_set() or self._heartbeat.want is Want.PAUSE:
                self._outcome = self._handed_back()
            elif not self._outbox.is_lost:
                continue
            raise NoTimeToWaitError
        self._group.listen_anew()  # its messages were not read meanwhile
