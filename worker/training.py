"""A trainer child's work: iterate over the training, and decide when to save, show and report.

Checkpoints and previews come at counts of images, for they belong to the record. Snapshots come by the
clock: they only bound what a crash costs, and no result depends on them.
"""

import logging
import math
import time

import torch

from contract.checkpoint import CheckpointHeader
from contract.dataset import Manifest
from contract.errors import ServiceError
from contract.job import CheckpointFact, Problem, Progress, SnapshotFact
from contract.volume import Volume, weights_name, write_durably
from models import checkpoint, trainer
from models.batches import Batches
from models.datasets.arrays import array, training_indices
from models.ema import served_generator
from models.environment import NumericEnvironment, detect
from models.previews import preview
from models.state import TrainingState
from worker import link
from worker.child import Chore
from worker.meter import Meter
from worker.orders import TrainingOrder

logger = logging.getLogger(__name__)

REPORT_SECONDS = 0.5


def train_job(order_json: str, chore: Chore) -> None:
    """Train to the end, or to the word to stop; resume from the newest snapshot that is whole."""
    order = TrainingOrder.model_validate_json(order_json)
    try:
        _Run(order, chore).carry_out()
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    except DivergedError as error:
        chore.tell(link.Failed(problem=Problem(code="diverged", detail=str(error))))


class DivergedError(Exception):
    """The losses are no longer numbers: nothing after this is worth saving."""


class _Run:
    """One child's share of a job: from where the last one stopped."""

    def __init__(self, order: TrainingOrder, chore: Chore) -> None:
        self._order = order
        self._chore = chore
        self._spec = order.spec
        self._volume = Volume(order.data_root)
        self._latest: trainer.Progress | None = None
        self._losses: dict[str, float] = {}
        self._images_per_second: float | None = None
        self._published = {known.images_seen for known in order.checkpoints}
        environment = detect(order.device, order.threads, self._spec.precision)
        environment.apply()
        self._tell_environment(environment)
        self._state = self._restored(environment)
        self._batches = self._dataset(environment)

    def carry_out(self) -> None:
        meter = Meter(self._state.images_seen)
        told_at = saved_at = time.monotonic()
        before = self._state.images_seen
        for progress in trainer.train(self._state, self._batches):
            self._latest = progress
            self._show(before, progress.images_seen)
            before = progress.images_seen
            now = time.monotonic()
            if now - told_at >= REPORT_SECONDS or progress.images_seen == self._total():
                self._read_losses()
                self._tell_progress(meter)
                told_at = now
            if self._chore.stop_requested:
                self._save()
                self._chore.tell(link.Stopped())
                return
            if now - saved_at >= self._order.snapshot_seconds:
                self._save()
                saved_at = time.monotonic()
        self._finish(meter)

    def _finish(self, meter: Meter) -> None:
        if self._state.images_seen not in self._published:
            self._publish()
        self._tell_progress(meter)
        self._chore.tell(link.Finished(result={"images_seen": self._state.images_seen}))

    def _restored(self, environment: NumericEnvironment) -> TrainingState:
        """The state to go on from: the recorded snapshot, else another that is whole, else a fresh one."""
        state = TrainingState.fresh(self._spec, environment)
        directory = self._volume.snapshots(self._order.job)
        recorded = [self._order.snapshot.file] if self._order.snapshot else []
        older = sorted((path.name for path in directory.glob("*.safetensors")), reverse=True)
        for name in [*recorded, *(name for name in older if name not in recorded)]:
            try:
                checkpoint.load_snapshot(directory / name, state)
            except ServiceError as error:
                self._chore.tell(link.Warned(code="snapshot_unreadable", detail=f"{name}: {error}"))
                continue
            logger.info("%s goes on from %d images", self._order.job, state.images_seen)
            break
        return state

    def _dataset(self, environment: NumericEnvironment) -> Batches:
        spec = self._spec
        manifest = Manifest.model_validate_json(self._volume.manifest(spec.dataset).read_bytes())
        pictures = array(
            self._volume,
            manifest,
            spec.resolution,
            spec.channels,
            spec.fit,
            self._show_life,
        )
        return Batches(
            pictures,
            training_indices(manifest),
            batch_size=spec.batch_size,
            seed=spec.seed,
            device=environment.device,
            mirror=spec.mirror,
        )

    def _show_life(self, done: int, total: int) -> None:
        del done, total
        self._chore.heed_stop()
        self._chore.tell(link.Advanced(progress=self._progress()))

    def _show(self, before: int, after: int) -> None:
        """What the record wants between two counts of images: previews and checkpoints, once each."""
        if _passes(self._spec.preview_every_images, before, after):
            path = self._volume.preview(self._order.job, after)
            if not path.exists():
                generator = served_generator(self._state)
                write_durably(path, preview(generator, self._spec, self._state.environment))
                self._chore.tell(link.Previewed(images_seen=after))
        if _passes(self._spec.checkpoint_every_images, before, after) and after not in self._published:
            self._publish()

    def _read_losses(self) -> None:
        """Wait for the device and take its figures. Always before something is kept."""
        if self._latest is None:
            return
        self._losses = self._latest.read()
        if not all(math.isfinite(loss) for loss in self._losses.values()):
            raise DivergedError(
                f"The losses are no longer finite after {self._latest.images_seen:,} images: {self._losses}. "
                "Choose smaller learning rates, or precision float32."
            )

    def _publish(self) -> None:
        self._read_losses()
        images_seen = self._state.images_seen
        name = weights_name(images_seen, self._order.token)
        path = self._volume.checkpoint(self._order.job, name)
        header = CheckpointHeader(job=self._order.job, spec=self._spec, images_seen=images_seen)
        digest = checkpoint.save_checkpoint(served_generator(self._state), header, path)
        self._published.add(images_seen)
        fact = CheckpointFact(file=name, digest=digest, images_seen=images_seen, bytes=path.stat().st_size)
        self._chore.tell(link.Published(checkpoint=fact))

    def _save(self) -> None:
        self._read_losses()
        name = weights_name(self._state.images_seen, self._order.token)
        checkpoint.save_snapshot(self._state, self._volume.snapshot(self._order.job, name))
        fact = SnapshotFact(file=name, images_seen=self._state.images_seen)
        self._chore.tell(link.Saved(snapshot=fact))

    def _tell_environment(self, environment: NumericEnvironment) -> None:
        first = self._order.environment
        changed = None
        if first is not None:
            recorded = NumericEnvironment.model_validate(first)
            if recorded != environment:
                changed = (
                    f"the run began on {recorded.fingerprint} and goes on on {environment.fingerprint}: "
                    "from here its result may differ in the last bits from an uninterrupted run"
                )
            environment = recorded
        self._chore.tell(link.Computing(environment=environment.model_dump(mode="json"), changed=changed))

    def _tell_progress(self, meter: Meter) -> None:
        self._images_per_second = meter.update(self._state.images_seen)
        self._chore.tell(link.Advanced(progress=self._progress()))

    def _progress(self) -> Progress:
        return Progress(
            done=self._state.images_seen,
            total=self._total(),
            images_per_second=self._images_per_second,
            losses=self._losses,
        )

    def _total(self) -> int:
        """The images of the whole run: whole batches."""
        return -(-self._spec.images // self._spec.batch_size) * self._spec.batch_size


def _passes(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return before // every != after // every
