"""An owner's account of its record: written to the volume first, then reported to Redis."""

import json
from collections.abc import Mapping
from typing import Any

from contract.events import EventType
from contract.job import CheckpointFact, SnapshotFact, best_checkpoint
from contract.owning import Lease
from contract.volume import Volume
from worker import leftovers, link
from worker.facts import Ledger
from worker.heartbeat import Heartbeat
from worker.outbox import Outbox
from worker.warming import Warming


class Account:
    """Records what the child has achieved, and deletes the files that no record refers to any more."""

    def __init__(
        self,
        lease: Lease,
        volume: Volume,
        best: CheckpointFact | None,
        *,
        ledger: Ledger,
        outbox: Outbox,
        heartbeat: Heartbeat,
        warming: Warming,
    ) -> None:
        """`best` is the checkpoint that the record names as its best, if any."""
        self._lease = lease
        self._volume = volume
        self._ledger = ledger
        self._outbox = outbox
        self._heartbeat = heartbeat
        self._warming = warming
        self._best = best

    def take_over(self) -> None:
        """Record the claim; report what the last owner wrote to the volume but may not have reported."""
        self.write({})
        if self._outbox.is_lost:
            return
        leftovers.drop_torn(self._volume, self._lease.id, ".*.tmp")
        if self._ledger.facts.checkpoints:
            self._warm_best(is_latest=False)
        for checkpoint in self._ledger.facts.checkpoints:
            self._report_checkpoint(checkpoint)
            self._heartbeat.beat_if_due()

    def hear(self, message: link.Message) -> None:
        """Record a result of the child, or its trouble; other messages are not for the account.

        Raises:
            NoTimeToWaitError: as `write` does.
        """
        match message:
            case link.Saved(snapshot=snapshot):
                self._saved(snapshot)
            case link.Published(checkpoint=checkpoint):
                self._published(checkpoint)
            case link.Computing():
                self._computing(message)
            case link.Previewed(images_seen=images_seen):
                self._outbox.report(
                    fields={"previewed_images_seen": str(images_seen)},
                    event=(EventType.PREVIEW, {"images_seen": images_seen}),
                )
            case link.Judged():
                self._judged(message)
            case link.Warned(code=code, detail=detail):
                self._outbox.warn(code, detail)
            case link.Waiting(shortage=shortage):
                self._outbox.lack(shortage)

    def write(self, update: Mapping[str, Any]) -> None:
        """Write new facts to the volume, waiting for room. Call this before reporting them to Redis.

        Raises:
            NoTimeToWaitError: the ownership is over. The new facts were not written and must not be reported.
        """
        if not self._ledger.write(update):
            self._outbox.lose()

    def conclude(self, *, is_success: bool) -> None:
        """Name the best for good, even if a sampler cannot load it: a job that has ended serves its best.

        After a success `latest` points to it, so samplers are asked to load it first.
        """
        named = self._best
        if is_success:
            self._warm_best(is_latest=True)
        best = best_checkpoint(self._ledger.facts.checkpoints)
        if best != named:
            self._outbox.report(fields={"checkpoint": best.model_dump_json()})

    def _warm_best(self, *, is_latest: bool) -> None:
        """Let samplers load the best checkpoint. Beats first, as this may take a whole heartbeat interval.

        If one cannot, the record of a running job goes on to name the best before, so that aliases that
        follow it are served.
        """
        self._heartbeat.beat_if_due()
        if self._outbox.is_lost:
            return
        best = best_checkpoint(self._ledger.facts.checkpoints)
        refusal = self._warming.load(self._lease.id, best, is_latest=is_latest)
        if refusal:
            self._outbox.warn("best_not_loaded", f"A sampler cannot load {best.digest}: {refusal}")
        if not refusal or self._best is None:
            self._best = best

    def _computing(self, message: link.Computing) -> None:
        self.write({"environment": message.environment})
        self._outbox.report(fields={"environment": json.dumps(message.environment)})
        if message.changed:
            self._outbox.warn("reproducibility_changed", message.changed)

    def _saved(self, snapshot: SnapshotFact) -> None:
        """Point to this snapshot, then delete those that no resume will need."""
        self.write({"snapshot": snapshot, "progress": self._heartbeat.latest})
        fields = {"snapshot": snapshot.model_dump_json(), "deaths": "0"}
        self._outbox.report(
            fields=fields,
            snapshot=snapshot,
            then=lambda: leftovers.drop_superseded(self._volume, self._lease.id, snapshot),
        )
        if not self._outbox.is_heard and not self._outbox.is_lost:
            named = self._outbox.named_snapshots
            leftovers.drop_unheard(self._volume, self._lease.id, snapshot, named)

    def _published(self, checkpoint: CheckpointFact) -> None:
        self.write({"checkpoints": (*self._ledger.facts.checkpoints, checkpoint)})
        if best_checkpoint(self._ledger.facts.checkpoints) != self._best:
            self._warm_best(is_latest=False)
        self._report_checkpoint(checkpoint)
        reported = {one.file for one in self._ledger.facts.checkpoints}
        leftovers.drop_unreported(self._volume, self._lease.id, checkpoint.file, reported)

    def _report_checkpoint(self, checkpoint: CheckpointFact) -> None:
        self._outbox.report(
            fields={"checkpoint": (self._best or checkpoint).model_dump_json()},
            checkpoint=checkpoint,
            event=(EventType.CHECKPOINT, checkpoint.model_dump()),
        )

    def _judged(self, message: link.Judged) -> None:
        """Mark a judgement as reported once Redis has acknowledged it; otherwise the next child repeats it.

        The record itself stores how far judgements were reported; the facts store it for a rebuild.
        """
        evaluation, warning = message.evaluation, message.warning
        heard = {"judged_images_seen": str(message.images_seen)}
        update: dict[str, Any] = {}
        if warning:  # before the evaluation: after a crash between the two, only the warning is repeated
            self._outbox.warn(warning.code, warning.detail, None if evaluation else heard)
        if evaluation:
            fields = {"evaluation": evaluation.model_dump_json()} | heard
            event = (EventType.METRIC, evaluation.model_dump(mode="json"))
            self._outbox.report(fields=fields, event=event)
            update["evaluation"] = evaluation
        if self._outbox.is_heard:
            update["judged_images_seen"] = message.images_seen
        self.write(update)
