"""What goes wrong in a run, told from its evaluations, and what is then done. A function of figures alone.

So a run that was killed and resumed takes the same decisions. Thresholds are shares and ratios: they mean the
same for every dataset. The figures themselves come from `models.metrics`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from contract.plugin import Frozen

PATIENCE = 3
"""Rollbacks without a new best after which a run is given up."""

SURE = 0.98
"""A discriminator that judges this share of reals and of fakes right has nothing left to teach."""
COLLAPSED = 0.35
"""Diversity below this share of the reals' is a collapse."""
WORSE = 1.5
"""A distance this many times the best, after it was that good, is not noise."""
COPIED = 0.5
"""The share of samples nearer to a training image than reals are: 0.05 where nothing is learnt by heart."""


class Cause(StrEnum):
    """What went wrong."""

    NOT_FINITE = "not_finite"
    DISCRIMINATOR_WINS = "discriminator_wins"
    MODE_COLLAPSE = "mode_collapse"
    OVERFITTING = "overfitting"


class Signs(Frozen):
    """What the guards look at, of one evaluation."""

    is_finite: bool
    distance: float = Field(description="Fréchet distance to the held-out reals.")
    real_accuracy: float
    fake_accuracy: float
    diversity: float
    memorised: float


class Adjustments(Frozen):
    """What the guards have changed in a run so far; factors of what the spec says."""

    generator_rate: float = 1.0
    discriminator_rate: float = 1.0
    augmentation: float = Field(0.0, description="Added to the strength of the augmentation, up to 1 in all.")


class Watch(Frozen):
    """The guards' memory: part of the training state."""

    best_images_seen: int | None = None
    best_distance: float | None = None
    rollbacks_since_best: int = 0
    adjustments: Adjustments = Adjustments()


@dataclass(frozen=True)
class Continue:
    """All is well, as far as can be seen."""

    watch: Watch
    is_best: bool


@dataclass(frozen=True)
class RollBack:
    """Go back to the best, changed as `watch` says."""

    watch: Watch
    cause: Cause
    detail: str


@dataclass(frozen=True)
class GiveUp:
    """Going back has not helped."""

    cause: Cause
    detail: str


Verdict = Continue | RollBack | GiveUp


def judge(watch: Watch, signs: Signs, images_seen: int) -> Verdict:
    """What to do after an evaluation at `images_seen`."""
    cause = _cause(watch, signs)
    if cause is None:
        return _go_on(watch, signs, images_seen)
    detail = _told(cause, signs, watch)
    if watch.best_images_seen is None and cause is not Cause.NOT_FINITE:
        return Continue(watch, is_best=False)  # nothing better to go back to yet
    if watch.rollbacks_since_best >= PATIENCE:
        return GiveUp(cause, f"{detail} Going back {PATIENCE} times has not helped. {_ADVICE[cause]}")
    changed = {
        "rollbacks_since_best": watch.rollbacks_since_best + 1,
        "adjustments": _REMEDIES[cause](watch.adjustments),
    }
    return RollBack(watch.model_copy(update=changed), cause, detail)


def _cause(watch: Watch, signs: Signs) -> Cause | None:
    """The first that applies: each explains those that come after it."""
    if not signs.is_finite:
        return Cause.NOT_FINITE
    if signs.diversity < COLLAPSED and _is_worse(watch, signs):
        return Cause.MODE_COLLAPSE
    if min(signs.real_accuracy, signs.fake_accuracy) >= SURE and _is_worse(watch, signs):
        return Cause.DISCRIMINATOR_WINS
    if signs.memorised > COPIED:
        return Cause.OVERFITTING
    return None


def _is_worse(watch: Watch, signs: Signs) -> bool:
    """Whether the pictures have become worse than they were; a young run is not blamed for being young."""
    return watch.best_distance is not None and signs.distance > WORSE * watch.best_distance


def _go_on(watch: Watch, signs: Signs, images_seen: int) -> Continue:
    if watch.best_distance is not None and signs.distance >= watch.best_distance:
        return Continue(watch, is_best=False)
    best = {"best_images_seen": images_seen, "best_distance": signs.distance, "rollbacks_since_best": 0}
    return Continue(watch.model_copy(update=best), is_best=True)


def _told(cause: Cause, signs: Signs, watch: Watch) -> str:
    best = "none yet" if watch.best_distance is None else f"{watch.best_distance:.3g}"
    return {
        Cause.NOT_FINITE: "Losses or weights are no longer finite numbers.",
        Cause.MODE_COLLAPSE: (
            f"The samples are {signs.diversity:.0%} as varied as the pictures (limit {COLLAPSED:.0%}), and "
            f"their Fréchet distance is {signs.distance:.3g} (best {best})."
        ),
        Cause.DISCRIMINATOR_WINS: (
            f"The discriminator judges {signs.real_accuracy:.0%} of the held-out pictures and "
            f"{signs.fake_accuracy:.0%} of the samples right (limit {SURE:.0%}), and the Fréchet distance is "
            f"{signs.distance:.3g} (best {best})."
        ),
        Cause.OVERFITTING: (
            f"{signs.memorised:.0%} of the samples are nearer to a training picture than new pictures are "
            f"(limit {COPIED:.0%})."
        ),
    }[cause]


def _slower(adjustments: Adjustments) -> Adjustments:
    """Both players at half the pace."""
    return adjustments.model_copy(
        update={
            "generator_rate": adjustments.generator_rate / 2,
            "discriminator_rate": adjustments.discriminator_rate / 2,
        }
    )


def _held_back(adjustments: Adjustments) -> Adjustments:
    """The discriminator at half the pace, and shown changed pictures."""
    changed = {
        "discriminator_rate": adjustments.discriminator_rate / 2,
        "augmentation": min(1.0, adjustments.augmentation + 0.25),
    }
    return adjustments.model_copy(update=changed)


def _augmented(adjustments: Adjustments) -> Adjustments:
    """Pictures that are changed more, so that they cannot be learnt by heart."""
    return adjustments.model_copy(update={"augmentation": min(1.0, adjustments.augmentation + 0.25)})


_REMEDIES: Mapping[Cause, Callable[[Adjustments], Adjustments]] = {
    Cause.NOT_FINITE: _slower,
    Cause.MODE_COLLAPSE: _slower,
    Cause.DISCRIMINATOR_WINS: _held_back,
    Cause.OVERFITTING: _augmented,
}

_ADVICE: Mapping[Cause, str] = {
    Cause.NOT_FINITE: "Choose smaller learning rates, or precision float32.",
    Cause.MODE_COLLAPSE: "Choose smaller learning rates, or another objective, such as r3 or wgan_gp.",
    Cause.DISCRIMINATOR_WINS: "Choose a smaller discriminator_learning_rate, or the preset small-data.",
    Cause.OVERFITTING: "Send more pictures, choose fewer images, or the preset small-data.",
}
