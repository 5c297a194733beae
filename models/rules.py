"""The maths that a spec chooses, and what each training step computes."""

import math
from dataclasses import dataclass
from typing import Self

from contract.augmentation import DiffAugment
from contract.training import TrainingSpec
from models import objectives, priors, terms
from models.game import DiscriminatorTerm, GeneratorTerm
from models.objectives import Objective
from models.priors import Prior


@dataclass(frozen=True)
class Routine:
    """The operations that make up a step. Steps of the same routine differ only in their numbers."""

    is_generators_turn: bool
    """Whether the generator learns too, after the last of its discriminator's steps."""
    due: tuple[DiscriminatorTerm, ...]
    augmentation: DiffAugment | None


@dataclass(frozen=True)
class Rules:
    """The objective, prior and terms that a spec chooses."""

    objective: Objective
    discriminator_steps: int
    """Discriminator steps, each on its own batch, per generator step."""
    prior: Prior
    discriminator_terms: tuple[DiscriminatorTerm, ...]
    generator_terms: tuple[GeneratorTerm, ...]

    @classmethod
    def of(cls, spec: TrainingSpec) -> Self:
        objective = objectives.build(spec.objective)
        added = [terms.build(term) for term in spec.terms]
        return cls(
            objective,
            spec.objective.discriminator_steps,
            priors.build(spec.prior),
            (*objective.discriminator_terms, *(t for t in added if isinstance(t, DiscriminatorTerm))),
            tuple(t for t in added if isinstance(t, GeneratorTerm)),
        )

    def routine(self, step: int, augmentation: DiffAugment | None) -> Routine:
        """The routine of the given step."""
        return Routine(
            is_generators_turn=(step + 1) % self.discriminator_steps == 0,
            due=tuple(term for term in self.discriminator_terms if step % term.every_steps == 0),
            augmentation=augmentation,
        )

    @property
    def period_steps(self) -> int:
        """The number of steps after which routines recur."""
        return math.lcm(self.discriminator_steps, *(term.every_steps for term in self.discriminator_terms))

    @property
    def shows_generator_reals(self) -> bool:
        return self.objective.compares_pairs or bool(self.generator_terms)
