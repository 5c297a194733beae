"""The figures of an evaluation that tell what goes wrong in a run, and their limits.

Limits are shares and ratios, so they mean the same for every dataset. `models.metrics` makes the figures.
"""

from collections.abc import Iterator, Mapping
from typing import Self

from pydantic import Field

from contract.evaluation import Evaluation
from contract.plugin import Frozen
from models.metrics.neighbours import COMMON

COLLAPSED = 0.35
"""Diversity below this share of the reals' is a collapse if both were better before, or the run is stuck."""
REPEATED = 0.05
"""So is a larger share of nearly equal pairs of samples: fewer than twenty pictures, equally often.

Sound runs of the presets had 0.01 % at most at 32 px and 0.05 % at 128 px, at any age, and one with hinge up
to 1.2 %.
"""
AS_USUAL = 3
"""Samples may repeat each other this many times as often as reals, or as all training pictures in turn."""
COPIED = 0.5
"""Overfitting: the share of samples nearer to a training image than reals are; `COMMON` if they are new."""
LEAST_COPIED = 0.3
"""The least limit for that where only some of the training images are searched.

Less may be chance, or samples that are all of the most usual kind. A sound run had 2 % among 57,000 pictures.
"""
LEAST_SEARCHED = 0.3
"""With a smaller share of them searched, even copies of all of them are hardly more than `LEAST_COPIED`."""


class Signs(Frozen):
    """The figures of one evaluation that the guards use."""

    is_finite: bool
    distance: float | None = Field(
        None,
        description="Fréchet distance to the reals; null where nothing can tell it: newer is better then.",
    )
    real_accuracy: float = Field(0.5, description="At a threshold of one half, whatever the user chose.")
    fake_accuracy: float = 0.5
    diversity: float = 1.0
    repeated: float = 0.0
    repeated_limit: float = REPEATED
    memorised: float = 0.0
    memorised_limit: float = COPIED
    largest_loss: float = Field(0.0, description="Without its sign, of either player; terms do not count.")

    @classmethod
    def of(cls, evaluation: Evaluation | None) -> Self:
        """The signs of an evaluation; None stands for a run whose numbers are no longer finite."""
        if evaluation is None:
            return cls(is_finite=False)
        accuracy = evaluation.adversarial_accuracy
        return cls(
            is_finite=True,
            distance=evaluation.frechet.value,
            real_accuracy=accuracy.real if accuracy.real_at_half is None else accuracy.real_at_half,
            fake_accuracy=accuracy.fake if accuracy.fake_at_half is None else accuracy.fake_at_half,
            diversity=evaluation.diversity,
            repeated=evaluation.repeated or 0.0,
            repeated_limit=_repeated_limit(evaluation),
            memorised=evaluation.memorised or 0.0,
            memorised_limit=_memorised_limit(evaluation),
            largest_loss=max(map(abs, _adversarial(evaluation.losses)), default=0.0),
        )

    @property
    def are_varied(self) -> bool:
        return self.diversity >= COLLAPSED and self.repeated <= self.repeated_limit


def _repeated_limit(evaluation: Evaluation) -> float:
    """More where the reals themselves repeat each other, or are few: they cannot be more varied than that."""
    usual = evaluation.floor.repeated if evaluation.floor else None
    at_least = 1 / evaluation.training_pictures if evaluation.training_pictures else 0.0
    return max(REPEATED, AS_USUAL * max(usual or 0.0, at_least))


def _memorised_limit(evaluation: Evaluation) -> float:
    """Less where copies of many training pictures go unnoticed: only those of searched ones add to chance.

    Not less where it would be too little to tell copies from chance.
    """
    searched, pictures = evaluation.searched, evaluation.training_pictures
    share = searched / pictures if searched and pictures else 1.0
    if share < LEAST_SEARCHED:
        return COPIED
    return max(LEAST_COPIED, COMMON + (COPIED - COMMON) * share)


def _adversarial(losses: Mapping[str, float]) -> Iterator[float]:
    """Each player's loss from the objective alone: the size of terms depends on the user's weights."""
    for player in (name for name in losses if "/" not in name):
        yield losses.get(f"{player}/adversarial", losses[player])
