"""The workload of a whole run: its number of evaluations, and multiply-adds of everything."""

from dataclasses import dataclass
from typing import Self

from contract.training import TrainingSpec
from models import cost
from models.cost import Cost
from models.ema import STATISTICS_BATCH, STATISTICS_BATCHES
from models.panel import Panel, interval, operations
from models.rehearsal import SHOWN


@dataclass(frozen=True)
class Workload:
    """The parts of a run. Operations are multiply-adds."""

    images: int
    """Real images shown in total, in whole batches."""
    training: int
    """Operations per image."""
    showing: int
    """Operations of all previews and checkpoints, a large part of a short run."""
    evaluations: int
    evaluation: int
    """Operations per evaluation."""
    reference: int
    """Operations before the first evaluation, on the real pictures."""
    every_images: int | None
    """Images between two evaluations; None if the dataset has too few pictures to evaluate."""

    @classmethod
    def of(cls, spec: TrainingSpec, panel: Panel | None, features: int) -> Self:
        """The workload of a spec; `features` is the number of operations of the feature network per image."""
        counted = Cost.of(spec)
        images = spec.total_images
        showing = counted.generator * _shown(spec, images)
        if panel is None:
            return cls(images, counted.training, showing, 0, 0, 0, None)
        each = operations(counted, panel, features)
        every = interval(spec, panel, features)
        known = len(panel.reals) + len(panel.neighbours) * (2 if spec.mirror else 1)
        return cls(
            images=images,
            training=counted.training,
            showing=showing,
            evaluations=passes(images, every, spec.batch_size, at_the_end=True),
            evaluation=each,
            reference=features * cost.FLOAT32 * known + cost.STATISTICS,
            every_images=every,
        )

    @property
    def judging(self) -> int:
        """Operations of all evaluations."""
        return self.evaluations * self.evaluation + (self.reference if self.evaluations else 0)

    @property
    def operations(self) -> int:
        return self.images * self.training + self.showing + self.judging


def passes(images: int, every_images: int, batch_size: int, *, at_the_end: bool) -> int:
    """How many steps pass a multiple of `every_images`; with `at_the_end`, the last step always counts."""
    passed = min(images // every_images, images // batch_size)
    is_last_one_of_them = images // every_images != (images - batch_size) // every_images
    return passed + (1 if at_the_end and not is_last_one_of_them else 0)


def _shown(spec: TrainingSpec, images: int) -> int:
    """Latents rendered for previews and checkpoints, each of which computes its own batch-norm statistics."""
    statistics = STATISTICS_BATCHES * STATISTICS_BATCH
    previews = passes(images, spec.preview_every_images, spec.batch_size, at_the_end=False)
    checkpoints = passes(images, spec.checkpoint_every_images, spec.batch_size, at_the_end=True)
    return previews * (statistics + SHOWN) + checkpoints * statistics
