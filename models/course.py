"""How far a run is: what is usual in its youth is a fault later."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from contract.training import TrainingSpec
from models import objectives
from models.watch import Watch
from models.workload import passes

STUCK, STUCK_SHARE = 2, 0.1
"""A run is stuck in its next evaluation without a new best, after this many and this share of its own.

Without the share, a run with hundreds of evaluations would be stuck whenever their noise hides its progress.
"""
YOUNG_STEPS = 500
"""Before this many generator steps, a run may still lack variety, or an answer to its discriminator."""
HOPELESS_STEPS = 200
"""Before this many, it may lack both: a sure discriminator and equal samples are usual at 50, not later."""
NEWBORN_STEPS = 100
"""Before this many, its samples may be all alike: at 128 px they began with a diversity of 4 %."""
FULL_RATE = 1e-4
"""The learning rate below which a generator's steps count for less: at 1e-5 it may need 5,000 for variety."""


@dataclass(frozen=True)
class Course:
    """The progress of a run, and the aim of its objective."""

    images_seen: int
    total_images: int
    generator_steps: int
    """Since the beginning, or as many at `FULL_RATE` as moved the weights as far."""
    stuck_after: int = STUCK
    """Evaluations without a new best after which the run is stuck in the next."""
    begun_images_seen: int = 0
    """Where those steps began."""
    images_per_step: float = 1.0
    """For one of them; infinite at a rate that moves nothing."""
    wants_sure_discriminator: bool = False
    """The objective trains the discriminator to its optimum, so sure verdicts and large scores are fine."""

    @classmethod
    def of(cls, spec: TrainingSpec, images_seen: int, watch: Watch, every_images: int) -> Self:
        """The course of a run since its networks were last in their initial state, evaluated that often."""
        step_images = spec.batch_size * spec.objective.discriminator_steps
        steps = (images_seen - watch.begun_images_seen) // step_images
        pace = min(1.0, spec.generator_learning_rate * watch.begun_generator_rate / FULL_RATE)
        evaluations = passes(spec.total_images, every_images, spec.batch_size, at_the_end=True)
        return cls(
            images_seen,
            spec.total_images,
            generator_steps=int(steps * pace),
            stuck_after=max(STUCK, round(STUCK_SHARE * evaluations)),
            begun_images_seen=watch.begun_images_seen,
            images_per_step=step_images / pace if pace else math.inf,
            wants_sure_discriminator=objectives.build(spec.objective).wants_sure_discriminator,
        )

    @property
    def is_young(self) -> bool:
        return self.generator_steps < YOUNG_STEPS

    @property
    def is_newborn(self) -> bool:
        return self.generator_steps < NEWBORN_STEPS

    @property
    def is_over(self) -> bool:
        return self.images_seen >= self.total_images

    def if_it_lasts(self) -> Iterator[Self]:
        """The run once stuck: now, at each age from which the guards judge otherwise, and at its end."""
        later = replace(self, stuck_after=0)
        yield later
        for steps in (NEWBORN_STEPS, HOPELESS_STEPS, YOUNG_STEPS):
            images = self.begun_images_seen + steps * self.images_per_step
            if steps > self.generator_steps and images <= self.total_images:
                later = replace(later, images_seen=round(images), generator_steps=steps)
                yield later
        yield replace(later, images_seen=self.total_images)
