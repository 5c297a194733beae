"""The time in which one record is ours: child, heartbeat, facts, leaving."""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from contract import store as records
from contract.events import EventType
from contract.job import (
    CheckpointFact,
    Problem,
    Progress,
    Record,
    SnapshotFact,
    State,
    Want,
    best_checkpoint,
)
from contract.store import Burial, Lease
from contract.volume import Volume, images_seen_of
from worker import link, memory
from worker.child import Child
from worker.facts import Facts, read_facts, state_burial, write_facts
from worker.settings import Settings
from worker.store import Store
from worker.testimony import Testimony

logger = logging.getLogger(__name__)

WriteOrder = Callable[[Record], tuple[str, str]]
"""The work of a record as `module:function`, and the order for it as JSON."""

KEPT_SNAPSHOTS = 2
PATIENCE_SECONDS = 0.25
"""Between two looks at what is wanted, when the child says nothing."""


@dataclass(frozen=True)
class Outcome:
    """In which state a record leaves its owner, and why."""

    state: State
    reason: str | None = None
    error: Problem | None = None
    result: dict[str, Any] | None = None


class Tenure:
    """From the claim of a record to its leaving; whoever holds a newer token ends it."""

    def __init__(
        self,
        lease: Lease,
        record: Record,
        child: Child,
        *,
        store: Store,
        volume: Volume,
        settings: Settings,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._testimony = Testimony(
            lease,
            store=store,
            volume=volume,
            is_stopping=is_stopping,
            grace_seconds=settings.stop_grace_seconds,
        )
        self._volume = volume
        self._settings = settings
        self._child = child
        self._is_stopping = is_stopping
        self._lease = lease
        self._record = record
        self._facts = Facts.of_claim(record, read_facts(self._volume, record.id))
        self._want = record.want
        self._progress: Progress | None = None
        self._outcome: Outcome | None = None
        self._death: str | None = None
        self._last_words: str | None = None

    def carry_out(self, write_order: WriteOrder) -> None:
        """Run the child to its end, beating all the while, then leave the record in its next state.

        Raises:
            OSError: the volume refuses to take facts. The record was handed back; it is not to blame.
        """
        oom_kills = memory.oom_kills()
        try:
            self._take_over()
            self._child.begin(*write_order(self._record))
            self._watch(self._child)
        except OSError as error:
            self._child.end()
            self._testimony.insist(records.leave(self._lease, State.QUEUED, reason=f"the volume: {error}"))
            raise
        finally:
            exit_code = self._child.end()
        self._remove_torn_files(f".*-{self._lease.token}.*.tmp")  # no others: a newer owner may be writing
        if self._testimony.is_lost:
            logger.warning("%s: it is not ours any more; nothing more is written", self._lease.id)
        elif self._outcome is None:
            self._bury(self._death or self._cause_of_death(exit_code, oom_kills))
        else:
            self._leave(self._outcome)

    def _take_over(self) -> None:
        """State the claim, and what the last owner stated on the volume but may not have told Redis."""
        self._state_facts()
        if self._testimony.is_lost:
            return
        self._remove_torn_files(".*.tmp")
        for checkpoint in self._facts.checkpoints:
            self._report_checkpoint(checkpoint)

    def _remove_torn_files(self, pattern: str) -> None:
        """What children were writing when they were killed."""
        volume, job = self._volume, self._lease.id
        for directory in (volume.snapshots(job), volume.checkpoints(job), volume.previews(job)):
            for torn in directory.glob(pattern):
                torn.unlink(missing_ok=True)

    def _watch(self, child: Child) -> None:
        next_beat = time.monotonic() + self._settings.heartbeat_seconds
        while not self._is_over():
            patience_seconds = min(PATIENCE_SECONDS, max(0.0, next_beat - time.monotonic()))
            for message in child.messages(patience_seconds):
                self._hear(message)
            if not self._is_over() and not child.is_alive:
                for message in child.messages(0):
                    self._hear(message)
                return
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + self._settings.heartbeat_seconds
                self._beat()
            self._pass_on_what_is_wanted(child)

    def _is_over(self) -> bool:
        return self._outcome is not None or self._death is not None or self._testimony.is_lost

    def _pass_on_what_is_wanted(self, child: Child) -> None:
        if self._is_over():
            return
        if self._want is Want.CANCEL:
            self._outcome = Outcome(State.CANCELLED, "cancelled on request")
        elif self._is_stopping() or self._want is Want.PAUSE:
            child.ask_to_stop()
            if child.is_slow_to_stop(self._settings.stop_grace_seconds):
                self._outcome = Outcome(
                    State.QUEUED, "handed back from its last snapshot: saving took too long"
                )
        silent_seconds = time.monotonic() - child.heard_at
        if silent_seconds > self._settings.progress_deadline_seconds:
            self._death = f"its process said nothing for {silent_seconds:.0f} s and was ended"

    def _hear(self, message: link.Message) -> None:
        match message:
            case link.Advanced(progress=progress):
                self._progress = progress
            case link.Saved(snapshot=snapshot):
                self._saved(snapshot)
            case link.Published(checkpoint=checkpoint):
                self._published(checkpoint)
            case link.Computing():
                self._computing(message)
            case link.Previewed(images_seen=images_seen):
                self._testimony.report(event=(EventType.PREVIEW, {"images_seen": images_seen}))
            case link.Judged():
                self._judged(message)
            case link.Warned(code=code, detail=detail):
                self._warn(code, detail)
            case link.Crashed(detail=detail):
                self._last_words = detail
            case link.Stopped() | link.Finished() | link.Failed():
                self._outcome = self._ending(message)

    def _ending(self, message: link.Stopped | link.Finished | link.Failed) -> Outcome:
        match message:
            case link.Finished(result=result):
                return Outcome(State.SUCCEEDED, result=result)
            case link.Failed(problem=problem):
                return Outcome(State.FAILED, error=problem)
        paused = self._want is Want.PAUSE and not self._is_stopping()
        return Outcome(State.QUEUED, "paused on request" if paused else "handed back by a worker that stops")

    def _computing(self, message: link.Computing) -> None:
        self._facts = self._facts.model_copy(update={"environment": message.environment})
        self._state_facts()
        self._testimony.report(fields={"environment": json.dumps(message.environment)})
        if message.changed:
            self._warn("reproducibility_changed", message.changed)

    def _saved(self, snapshot: SnapshotFact) -> None:
        """Move the pointer, then drop the snapshots that no resume will ask for."""
        self._facts = self._facts.model_copy(update={"snapshot": snapshot})
        self._state_facts()
        fields = {"snapshot": snapshot.model_dump_json(), "deaths": "0"}
        self._testimony.report(fields=fields, then=lambda: self._drop_snapshots_before(snapshot))

    def _drop_snapshots_before(self, newest: SnapshotFact) -> None:
        names = [path.name for path in self._volume.snapshots(self._lease.id).glob("*.safetensors")]
        for name in superseded(names, newest):
            self._volume.snapshot(self._lease.id, name).unlink(missing_ok=True)

    def _published(self, checkpoint: CheckpointFact) -> None:
        self._facts = self._facts.model_copy(update={"checkpoints": (*self._facts.checkpoints, checkpoint)})
        self._state_facts()
        self._report_checkpoint(checkpoint)

    def _report_checkpoint(self, checkpoint: CheckpointFact) -> None:
        self._testimony.report(
            fields={"checkpoint": best_checkpoint(self._facts.checkpoints).model_dump_json()},
            checkpoint=checkpoint,
            event=(EventType.CHECKPOINT, checkpoint.model_dump()),
        )

    def _judged(self, message: link.Judged) -> None:
        """Told before it is stated: what comes twice after a crash is the same, what never comes is lost."""
        evaluation = message.evaluation
        update: dict[str, Any] = {"judged_images_seen": message.images_seen}
        if evaluation:
            fields = {"evaluation": evaluation.model_dump_json()}
            event = (EventType.METRIC, evaluation.model_dump(mode="json"))
            self._testimony.report(fields=fields, event=event)
            update["evaluation"] = evaluation
        if message.warning:
            self._warn(message.warning.code, message.warning.detail)
        self._facts = self._facts.model_copy(update=update)
        self._state_facts()

    def _warn(self, code: str, detail: str) -> None:
        logger.warning("%s: %s: %s", self._lease.id, code, detail)
        self._testimony.report(event=(EventType.WARNING, {"code": code, "detail": detail}))

    def _beat(self) -> None:
        progress, self._progress = self._progress, None
        self._testimony.flush()
        heard = self._testimony.tell(records.beat(self._lease, progress))
        if isinstance(heard, Want):
            self._want = heard
        else:
            self._progress = self._progress or progress

    def _leave(self, outcome: Outcome) -> None:
        if self._progress:
            self._testimony.report(fields={"progress": self._progress.model_dump_json()})
        self._facts = self._facts.model_copy(
            update={
                "state": outcome.state,
                "reason": outcome.reason,
                "error": outcome.error,
                "result": outcome.result,
                "finished_ms": round(time.time() * 1000) if outcome.state.is_terminal else None,
            }
        )
        self._state_facts()
        fields = {"result": json.dumps(outcome.result)} if outcome.result else None
        self._testimony.insist(
            records.leave(
                self._lease, outcome.state, reason=outcome.reason, error=outcome.error, fields=fields
            )
        )
        logger.info("%s: %s %s", self._lease.id, outcome.state, outcome.reason or "")

    def _bury(self, cause: str) -> None:
        logger.error("%s: %s", self._lease.id, cause)
        burial = self._testimony.insist(records.died(self._lease, cause, self._settings.max_deaths))
        if isinstance(burial, Burial):
            state_burial(self._volume, burial)

    def _state_facts(self) -> None:
        if not write_facts(self._volume, self._lease.id, self._facts):
            self._testimony.is_lost = True

    def _cause_of_death(self, exit_code: int, oom_kills_before: int | None) -> str:
        if exit_code == link.EXIT_OUT_OF_MEMORY:
            return "it ran out of memory: choose a smaller batch_size, resolution or width"
        if exit_code == -9:
            after = memory.oom_kills()
            if after is not None and oom_kills_before is not None and after > oom_kills_before:
                return "the kernel killed it for memory: choose a smaller batch_size, resolution or width"
            return "its process was killed, possibly for memory"
        return self._last_words or f"its process ended with exit code {exit_code}"


def superseded(names: list[str], newest: SnapshotFact) -> list[str]:
    """The snapshots that nobody will ask for again: all but the newest two and the best."""
    known = sorted((name for name in names if name <= newest.file), reverse=True)
    return [name for name in known[KEPT_SNAPSHOTS:] if images_seen_of(name) != newest.best_images_seen]
