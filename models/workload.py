"""A whole run by counting: its evaluations, and the multiply-adds of everything."""

import math
from dataclasses import dataclass
from typing import Self

from contract.training import TrainingSpec
from models import cost, evaluation
from models.cost import Cost
from models.evaluation import Panel


@dataclass(frozen=True)
class Workload:
    """What a run consists of. Operations are multiply-adds."""

    images: int
    """Shown in all: whole batches."""
    training: int
    """Operations for each of them."""
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
        images = math.ceil(spec.images / spec.batch_size) * spec.batch_size
        if panel is None:
            return cls(images, counted.training, 0, 0, 0, None)
        each = evaluation.operations(counted, panel, features)
        every = spec.evaluation.every_images or cost.evaluation_interval(counted, each, spec.batch_size)
        known = len(panel.reals) + len(panel.neighbours)
        return cls(
            images=images,
            training=counted.training,
            evaluations=evaluations(images, every, spec.batch_size),
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
        return self.images * self.training + self.judging


def evaluations(images: int, every_images: int, batch_size: int) -> int:
    """How often a run of so many images is judged: when a step passes a multiple, and at the end."""
    passed = min(images // every_images, images // batch_size)
    is_judged_at_the_end_anyway = images // every_images != (images - batch_size) // every_images
    return passed + (0 if is_judged_at_the_end_anyway else 1)
