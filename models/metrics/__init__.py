"""Metrics of a generator, computed from features and scores: pure functions, on the CPU.

They take a network's outputs and know neither network nor images; none is random. They raise a ValueError for
values that are not finite, so callers check first. Whatever depends on the reals alone (`Moments`, `Pairs`,
`Balls`, `Known`, their mean pairwise distance) can be computed once.
"""

from models.metrics.accuracy import Accuracy, adversarial_accuracy
from models.metrics.continuity import Continuity, continuity
from models.metrics.diversity import diversity
from models.metrics.frechet import Moments, frechet_distance
from models.metrics.kernel import Estimate, Pairs, kernel_distance
from models.metrics.likeness import Likeness, Reals
from models.metrics.neighbours import Balls, Known, Support, memorised, support
from models.metrics.points import mean_pairwise_distance
from models.metrics.repetition import repeated

__all__ = [
    "Accuracy",
    "Balls",
    "Continuity",
    "Estimate",
    "Known",
    "Likeness",
    "Moments",
    "Pairs",
    "Reals",
    "Support",
    "adversarial_accuracy",
    "continuity",
    "diversity",
    "frechet_distance",
    "kernel_distance",
    "mean_pairwise_distance",
    "memorised",
    "repeated",
    "support",
]
