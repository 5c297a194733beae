"""The account that an owner gives of a record: stated on the volume, then told Redis."""

import json
from collections.abc import Mapping
from typing import Any

from contract.events import EventType
from contract.job import CheckpointFact, SnapshotFact, best_checkpoint
from contract.store import Lease
from contract.volume import Volume
from worker import leftovers, link
from worker.facts import Ledger
from worker.heartbeat import Heartbeat
from worker.outbox import Outbox
from worker.warming import Warming


class Account:
    """What the child has come to, and which files follow from it: none stays that no record names."""

    def __init__(
        self,
        lease: Lease,
        volume: Volume,
        *,
        ledger: Ledger,
        outbox: Outbox,
        heartbeat: Heartbeat,
        warming: Warming,
    ) -> None:
        self._lease = lease
        self._volume = volume
        self._ledger = ledger
        self._outbox = outbox
        self._heartbeat = heartbeat
        self._warming = warming

    def take_over(self) -> None:
        """State the claim, and what the last owner stated on the volume but may not have told Redis."""
        self.state({})
        if self._outbox.is_lost:
            return
        leftovers.drop_torn(self._volume, self._lease.id, ".*.tmp")
        if self._ledger.facts.checkpoints:
            self.warm_best(is_latest=False)
        for checkpoint in self._ledger.facts.checkpoints:
            self._report_checkpoint(checkpoint)
            self._heartbeat.beat_if_due()

    def hear(
        self, message: link.Saved | link.Published | link.Computing | link.Previewed | link.Judged
    ) -> None:
        """Take down what the child has come to.

        Raises:
            NoTimeToWaitError: what `state` does.
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

    def state(self, update: Mapping[str, Any]) -> None:
        """State what is new, before Redis is told; where there is no room, wait for it.

        Raises:
            NoTimeToWaitError: the tenure is over. What is new has not been stated, and may not be told.
        """
        if not self._ledger.state(update):
            self._outbox.lose()

    def warm_best(self, *, is_latest: bool) -> None:
        """Let samplers load the best checkpoint. A beat first: it lasts as long as from one to the next."""
        self._heartbeat.beat_if_due()
        if self._outbox.is_lost:
            return
        best = best_checkpoint(self._ledger.facts.checkpoints)
        self._warming.load(self._lease.id, best, is_latest=is_latest)

    def _computing(self, message: link.Computing) -> None:
        self.state({"environment": message.environment})
        self._outbox.report(fields={"environment": json.dumps(message.environment)})
        if message.changed:
            self._outbox.warn("reproducibility_changed", message.changed)

    def _saved(self, snapshot: SnapshotFact) -> None:
        """Move the pointer, then drop the snapshots that no resume will ask for."""
        self.state({"snapshot": snapshot})
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
        self.state({"checkpoints": (*self._ledger.facts.checkpoints, checkpoint)})
        if best_checkpoint(self._ledger.facts.checkpoints) == checkpoint:
            self.warm_best(is_latest=False)
        self._report_checkpoint(checkpoint)
        told = {one.file for one in self._ledger.facts.checkpoints}
        leftovers.drop_untold(self._volume, self._lease.id, checkpoint.file, told)

    def _report_checkpoint(self, checkpoint: CheckpointFact) -> None:
        self._outbox.report(
            fields={"checkpoint": best_checkpoint(self._ledger.facts.checkpoints).model_dump_json()},
            checkpoint=checkpoint,
            event=(EventType.CHECKPOINT, checkpoint.model_dump()),
        )

    def _judged(self, message: link.Judged) -> None:
        """Stated as told once it is heard: what was not, the next owner's child comes by and tells again.

        The record itself remembers up to where it has heard; the facts do in case that it is rebuilt.
        """
        evaluation, warning = message.evaluation, message.warning
        heard = {"judged_images_seen": str(message.images_seen)}
        update: dict[str, Any] = {}
        if warning:  # the first of two: after a crash between them it is this that comes twice
            self._outbox.warn(warning.code, warning.detail, None if evaluation else heard)
        if evaluation:
            fields = {"evaluation": evaluation.model_dump_json()} | heard
            event = (EventType.METRIC, evaluation.model_dump(mode="json"))
            self._outbox.report(fields=fields, event=event)
            update["evaluation"] = evaluation
        if self._outbox.is_heard:
            update["judged_images_seen"] = message.images_seen
        self.state(update)
