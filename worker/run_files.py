"""Writes and restores the files of a run: snapshots, checkpoints, previews."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from contract.checkpoint import CheckpointHeader
from contract.durable import lack
from contract.errors import ServiceError
from contract.evaluation import Evaluation
from contract.job import CheckpointFact, SnapshotFact
from contract.volume import Volume, images_seen_of, weights_files, weights_name
from models import checkpoint
from models.ema import served_generator
from models.environment import NumericEnvironment
from models.previews import preview
from models.state import TrainingState
from worker import link
from worker.child import Chore
from worker.orders import TrainingOrder
from worker.reporting import computing
from worker.room import Room

logger = logging.getLogger(__name__)

T = TypeVar("T")


class RunFiles:
    """The files of one run under one owner's token. It reports what it writes, and waits for the volume."""

    def __init__(self, order: TrainingOrder, chore: Chore, room: Room) -> None:
        self._order = order
        self._chore = chore
        self._room = room
        self._volume = Volume(order.data_root)
        self._published = {known.images_seen for known in order.checkpoints}

    def restored(self, environment: NumericEnvironment, show_life: Callable[[], None]) -> TrainingState:
        """The state to continue from: the recorded snapshot, else an older intact one, else a fresh one.

        Reports the environment, as soon as it is known whether it is another one than before. Drawing a fresh
        state can take minutes, so it is done only without a snapshot.
        """
        state = TrainingState.blank(self._order.spec, environment)
        directory = self._volume.snapshots(self._order.job)
        for name in self._recorded_and_older():
            try:
                saved_on = self._load(checkpoint.load_snapshot, directory / name, state)
            except ServiceError as error:
                self._warn_unreadable(name, error)
                continue
            self._chore.tell(computing(environment, saved_on))
            logger.info("%s goes on from %d images", self._order.job, state.images_seen)
            return state
        self._chore.tell(computing(environment, self._computed_on()))
        state.draw(show_life)
        return state

    def _computed_on(self) -> NumericEnvironment | None:
        """Where the results were computed that a run without a snapshot keeps: it publishes none twice."""
        known = self._order.environment
        return NumericEnvironment.model_validate(known) if known else None

    def _recorded_and_older(self) -> list[str]:
        """Never a newer one, since neither it nor, perhaps, the checkpoints before it were reported."""
        recorded = self._order.snapshot
        if recorded is None:
            return []
        names = (path.name for path in self._snapshots())
        older = {name for name in names if images_seen_of(name) <= recorded.images_seen}
        return [recorded.file, *sorted(older - {recorded.file}, reverse=True)]

    def go_back(self, state: TrainingState, images_seen: int | None, show_life: Callable[[], None]) -> None:
        """Restore the weights and optimisers that `state` had after `images_seen`; None: at the start."""
        state.losses.clear()  # they are of a state that is given up
        known = self._snapshots() if images_seen is not None else []
        for path in reversed([one for one in known if images_seen_of(one.name) == images_seen]):
            try:
                self._load(checkpoint.load_weights, path, state)
            except ServiceError as error:
                self._warn_unreadable(path.name, error)
                continue
            return
        state.begin_again(show_life)

    def _snapshots(self) -> list[Path]:
        """The job's snapshots, sorted. Waits for a volume that is away or fails."""
        directory = self._volume.snapshots(self._order.job)
        try:
            return self._room.read(lambda: weights_files(directory), directory)
        except FileNotFoundError:
            return []

    def _load(self, load: Callable[[Path, TrainingState], T], path: Path, state: TrainingState) -> T:
        """Load a snapshot, whatever the volume's passing trouble.

        Raises:
            ServiceError: it is missing or damaged, or a volume that is well otherwise does not give it back.
        """
        try:
            return self._room.read(lambda: load(path, state), path)
        except OSError as error:
            if lack(error) is None:  # it may be this host's fault
                raise
            raise checkpoint.unreadable(path, f"the disk does not give it back ({error.strerror})") from error

    def save(self, state: TrainingState, judged_every: int) -> None:
        """Save a snapshot, and report the interval between evaluations with it.

        The file itself would be refused by versions from before 2026-11-30 if it had one more field.
        """
        name = weights_name(state.images_seen, self._order.token)
        checkpoint.save_snapshot(state, self._volume.snapshot(self._order.job, name), self._room.write)
        fact = SnapshotFact(
            file=name,
            images_seen=state.images_seen,
            best_images_seen=state.watch.best_images_seen,
            judged_every=judged_every,
        )
        self._chore.tell(link.Saved(snapshot=fact))

    def publish(self, state: TrainingState, evaluation: Evaluation | None) -> None:
        """Publish a checkpoint, once, with the figures of its evaluation if there was one."""
        images_seen = state.images_seen
        if images_seen in self._published:
            return
        name = weights_name(images_seen, self._order.token)
        path = self._volume.checkpoint(self._order.job, name)
        metrics = evaluation.metrics if evaluation else {}
        basis = evaluation.basis if evaluation else None
        header = CheckpointHeader(
            job=self._order.job,
            spec=self._order.spec,
            images_seen=images_seen,
            metrics=metrics,
            basis=basis,
        )
        digest = checkpoint.save_checkpoint(served_generator(state), header, path, self._room.write)
        self._published.add(images_seen)
        fact = CheckpointFact(
            file=name,
            digest=digest,
            images_seen=images_seen,
            bytes=self._room.read(path.stat, path).st_size,
            metrics=metrics,
            basis=basis,
        )
        self._chore.tell(link.Published(checkpoint=fact))

    def show(self, state: TrainingState) -> None:
        """Write a preview once, and report it once, though not always from the same process."""
        path = self._volume.preview(self._order.job, state.images_seen)
        if not self._room.read(path.exists, path):
            self._room.write(path, preview(served_generator(state), state.spec, state.environment))
        if state.images_seen > self._order.previewed_images_seen:
            self._chore.tell(link.Previewed(images_seen=state.images_seen))

    def _warn_unreadable(self, name: str, error: ServiceError) -> None:
        self._chore.tell(link.Warned(code="snapshot_unreadable", detail=f"{name}: {error}"))
