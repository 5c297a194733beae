"""A whole run by counting: its evaluations, and the multiply-adds of everything."""

from dataclasses import dataclass
from typing import Self

from contract.training import TrainingSpec
from models import cost, evaluation
from models.cost import Cost
from models.ema import STATISTICS_BATCH, STATISTICS_BATCHES
from models.evaluation import Panel
from models.rehearsal import SHOWN


@dataclass(frozen=True)
class Workload:
    """What a run consists of. Operations are multiply-adds."""

    images: int
    """Shown in all: whole batches."""
    training: int
    """Operations for each of them."""
    showing: int
    """Operations of all previews and checkpoints: for a short run they are many."""
    evaluations: int
    evaluation: int
    """Operations of each."""
    reference: int
    """Operations before the first: how the real pictures look."""
    every_images: int | None
    """Between two evaluations; None where the dataset has too few pictures to judge by."""

    @classmethod
    def of(cls, spec: TrainingSpec, panel: Panel | None, features: int) -> Self:
        """`features` are the operations that the feature network takes for an image."""
        counted = Cost.of(spec)
        images = spec.total_images
        showing = counted.generator * _shown(spec, images)
        if panel is None:
            return cls(images, counted.training, showing, 0, 0, 0, None)
        each = evaluation.operations(counted, panel, features)
        every = evaluation.interval(spec, panel, features)
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
    """How many steps of such a run pass a multiple; with `at_the_end` the last one counts anyway."""
    passed = min(images // every_images, images // batch_size)
    is_last_one_of_them = images // every_images != (images - batch_size) // every_images
    return passed + (1 if at_the_end and not is_last_one_of_them else 0)


def _shown(spec: TrainingSpec, images: int) -> int:
    """Latents that go through the generator for previews and checkpoints, each with statistics of its own."""
    statistics = STATISTICS_BATCHES * STATISTICS_BATCH
    previews = passes(images, spec.preview_every_images, spec.batch_size, at_the_end=False)
    checkpoints = passes(images, spec.checkpoint_every_images, spec.batch_size, at_the_end=True)
    return previews * (statistics + SHOWN) + checkpoints * statistics
