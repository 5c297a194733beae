"""How like the reals some pictures are, by the metrics of features alone: samples, or reals for a floor."""

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from models.metrics.diversity import diversity
from models.metrics.frechet import Moments, frechet_distance
from models.metrics.kernel import Estimate, Pairs, kernel_distance
from models.metrics.neighbours import Balls, Support, support
from models.metrics.points import mean_pairwise_distance
from models.metrics.repetition import repeated


@dataclass(frozen=True, eq=False)
class Reals:
    """The statistics of reals that all comparisons with them share."""

    moments: Moments
    pairs: Pairs
    balls: Balls
    scale: float
    """Their mean pairwise distance, at least `at_least`."""
    are_varied: bool
    """Whether that distance is more than `at_least`."""

    @classmethod
    def of(cls, features: Tensor, *, at_least: float = 0.0) -> Self:
        """Compute from features (N, F), N ≥ 6.

        Raises:
            ValueError: fewer than six, or some not finite.
        """
        distance = mean_pairwise_distance(features)
        scale, are_varied = max(distance, at_least), distance > at_least
        return cls(Moments.of(features), Pairs.of(features), Balls.of(features), scale, are_varied)


@dataclass(frozen=True)
class Likeness:
    """How like the reals some samples are, by every metric of features alone."""

    samples: int
    frechet: float
    kernel: Estimate
    support: Support
    diversity: float
    """1 if the reals all look the same: then samples cannot lack variety."""
    repeated: float
    """0 if the reals all look the same."""

    @classmethod
    def of(cls, reals: Reals, samples: Tensor) -> Self:
        """Compare samples, as features (M, F), M ≥ 6.

        Raises:
            ValueError: fewer than six, or some not finite.
        """
        return cls(
            len(samples),
            frechet_distance(reals.moments, samples),
            kernel_distance(reals.pairs, samples),
            support(reals.balls, samples),
            diversity(reals.scale, samples) if reals.are_varied else 1.0,
            repeated(samples) if reals.are_varied else 0.0,
        )
