"""The plan of a run's evaluations: against which pictures, how often, and at which cost."""

import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from contract.training import MOST_KEPT, TrainingSpec
from models import cost
from models.cost import Cost
from models.datasets.split import FEWEST_REALS
from models.ema import STATISTICS_BATCH, STATISTICS_BATCHES
from models.randomness import permutation

MOST_REALS = 2_000
MOST_NEIGHBOURS = 4_096
"""Training pictures among which copies are searched for; copies of the others do not count."""
SAMPLES_PER_REAL = 4
FEWEST_SAMPLES, MOST_SAMPLES = 256, 1_024
PATHS, POINTS = 32, 9
FEWEST_EVALUATIONS, LARGEST_SHARE = 4, 0.2
"""A run that would have fewer evaluations spends up to this share on them, to notice failures in time."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Panel:
    """The pictures that a run is evaluated against: a function of the dataset and the job's seed."""

    reals: Indices
    """Shuffled by the seed, because pictures with similar names may show the same scene."""
    neighbours: Indices
    """The training pictures among which copies are searched for."""
    training: int
    """All training pictures."""
    split: Literal["held_out", "training"]

    @classmethod
    def of(cls, training: Indices, held_out: Indices, seed: int) -> Self | None:
        """The panel from the pictures of both splits; `split` says from which. None if there are too few."""
        neighbours = np.sort(_drawn(training, MOST_NEIGHBOURS, seed, "neighbours"))
        if len(held_out) >= FEWEST_REALS:
            return cls(_drawn(held_out, MOST_REALS, seed, "reals"), neighbours, len(training), "held_out")
        if len(training) >= FEWEST_REALS:
            return cls(_drawn(training, MOST_REALS, seed, "reals"), neighbours, len(training), "training")
        return None

    @property
    def samples(self) -> int:
        return min(max(SAMPLES_PER_REAL * len(self.reals), FEWEST_SAMPLES), MOST_SAMPLES)


def _drawn(indices: Indices, most: int, seed: int, stream: str) -> Indices:
    """At most `most` of the indices, chosen and ordered by the seed."""
    return indices[permutation(seed, f"evaluation/{stream}", 0, len(indices))[:most]]


def interval(spec: TrainingSpec, panel: Panel, features: int) -> int:
    """Images between two evaluations: as requested, or so that they take about 5 % of the run, by counting.

    They take more in a run that is too short for `FEWEST_EVALUATIONS`. However long the run, their number is
    limited to what a request may choose, because each is stored for ever. `features` is the number of
    multiply-adds of the feature network per image.
    """
    if spec.evaluation.every_images is not None:
        return spec.evaluation.every_images
    trained, batch_size = Cost.of(spec), spec.batch_size
    one = operations(trained, panel, features)
    usual = cost.evaluation_interval(trained, one, batch_size)
    shortest = cost.evaluation_interval(trained, one, batch_size, LARGEST_SHARE)
    few, most = (
        math.ceil(spec.images / (count * batch_size)) * batch_size
        for count in (FEWEST_EVALUATIONS, MOST_KEPT)
    )
    return max(min(usual, max(few, shortest)), most)


def operations(trained: Cost, panel: Panel, features: int) -> int:
    """Multiply-adds of one evaluation; `features` is the number of the feature network's per image."""
    return cost.evaluation(
        trained,
        features,
        generated=panel.samples + PATHS * POINTS + STATISTICS_BATCHES * STATISTICS_BATCH,
        compared=panel.samples + PATHS * POINTS,
        scored=panel.samples + len(panel.reals),
    )
