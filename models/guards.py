"""What goes wrong in a run, told from its evaluations, and what is then done. A function of figures alone.

So a run that was killed and resumed takes the same decisions. Thresholds are shares and ratios: they mean the
same for every dataset. The figures themselves come from `models.metrics`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import Field

from contract.evaluation import DEAD, Evaluation
from contract.plugin import Frozen
from contract.training import TrainingSpec
from models import objectives

PATIENCE = 3
"""Rollbacks without a new best that lives after which a run is given up."""

SURE = 0.98
"""A discriminator that judges this share of reals and of fakes right has nothing left to teach."""
STUCK = 2
"""Evaluations without a new best before this one: then a discriminator that is sure is why."""
COLLAPSED = 0.35
"""Diversity below this share of the reals' is a collapse where it was more, and the pictures were better."""
RUNAWAY = 1_000.0
"""A loss beyond this comes of weights that have run away, which no beginner's do: then youth is no excuse.

Not of a term, which a user weighs, nor of a critic, whose scores grow with the number of pixels: 276 was seen
of a sound one at 64 px.
"""
YOUNG_STEPS = 500
"""Of the generator. Until then it may not have found its variety yet, nor an answer to its discriminator."""
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
    distance: float | None = Field(
        None,
        description="Fréchet distance to the reals; null where nothing can tell it: newer is better then.",
    )
    real_accuracy: float = 0.5
    fake_accuracy: float = 0.5
    diversity: float = 1.0
    memorised: float = 0.0
    largest_loss: float = Field(0.0, description="Without its sign, of either player; terms do not count.")

    @classmethod
    def of(cls, evaluation: Evaluation | None) -> Self:
        """The signs of an evaluation; without one, those of a run that is not made of numbers any more."""
        if evaluation is None:
            return cls(is_finite=False)
        return cls(
            is_finite=True,
            distance=evaluation.frechet.value,
            real_accuracy=evaluation.adversarial_accuracy.real,
            fake_accuracy=evaluation.adversarial_accuracy.fake,
            diversity=evaluation.diversity,
            memorised=evaluation.memorised or 0.0,
            largest_loss=max(map(abs, _adversarial(evaluation.losses)), default=0.0),
        )


def _adversarial(losses: Mapping[str, float]) -> Iterator[float]:
    """What each player's objective comes to by itself: how large terms are is for whoever weighs them."""
    for player in (name for name in losses if "/" not in name):
        yield losses.get(f"{player}/adversarial", losses[player])


class Adjustments(Frozen):
    """What the guards have changed in a run so far; factors of what the spec says."""

    generator_rate: float = 1.0
    discriminator_rate: float = 1.0
    augmentation: float = Field(0.0, description="Added to the strength of the augmentation, up to 1 in all.")


class Watch(Frozen):
    """The guards' memory: part of the training state."""

    begun_images_seen: int = 0
    """Where it last went back to its beginning."""
    best_images_seen: int | None = None
    best_distance: float | None = None
    best_diversity: float = 0.0
    has_lived: bool = False
    """Whether there was a best that lived, be it lost or not."""
    evaluations_since_best: int = 0
    rollbacks_since_best: int = 0
    adjustments: Adjustments = Adjustments()

    @property
    def has_living_best(self) -> bool:
        """Whether there is something to go back to."""
        return self.best_images_seen is not None and self.best_diversity >= DEAD

    @property
    def has_something_to_serve(self) -> bool:
        """Whether a checkpoint lives, though the run may not be able to go back to it."""
        return self.has_lived or self.has_living_best

    def begun_again(self, images_seen: int) -> Self:
        """That of a run which is at its beginning once more.

        A best that lives can be lost, or the run would be back there. It is no measure for a beginner.
        """
        lost = {"best_images_seen": None, "best_distance": None, "best_diversity": 0.0, "has_lived": True}
        forgotten = lost if self.has_living_best else {}
        return self.model_copy(update={"begun_images_seen": images_seen, **forgotten})


@dataclass(frozen=True)
class Course:
    """How far a run has come, and what it is after."""

    images_seen: int
    generator_steps: int
    wants_sure_discriminator: bool = False
    """The objective trains it to its best on purpose: that it judges all right, or far apart, is no fault."""

    @classmethod
    def of(cls, spec: TrainingSpec, images_seen: int, watch: Watch) -> Self:
        """That of a run since its networks were last as at the beginning."""
        objective = objectives.build(spec.objective)
        steps = (images_seen - watch.begun_images_seen) // (spec.batch_size * objective.discriminator_steps)
        return cls(images_seen, steps, objective.wants_sure_discriminator)

    @property
    def is_young(self) -> bool:
        return self.generator_steps < YOUNG_STEPS


@dataclass(frozen=True)
class Continue:
    """All is well, as far as can be seen."""

    watch: Watch
    is_best: bool


@dataclass(frozen=True)
class RollBack:
    """Go back to the best, or where there is none that lives to the beginning, changed as `watch` says."""

    watch: Watch
    cause: Cause
    detail: str

    @property
    def goal_images_seen(self) -> int | None:
        """When the state was saved to which the run goes back; None for its beginning."""
        return self.watch.best_images_seen if self.watch.has_living_best else None


@dataclass(frozen=True)
class GiveUp:
    """Going back has not helped."""

    cause: Cause
    detail: str


Verdict = Continue | RollBack | GiveUp


def judge(watch: Watch, signs: Signs, course: Course) -> Verdict:
    """What to do after an evaluation of a run that has come so far."""
    cause = _cause(watch, signs, course)
    if cause is None:
        return _go_on(watch, signs, course.images_seen)
    detail = _told(cause, signs, watch)
    if watch.rollbacks_since_best >= PATIENCE:
        return GiveUp(cause, f"{detail} Going back {PATIENCE} times has not helped. {_ADVICE[cause]}")
    changed = {
        "rollbacks_since_best": watch.rollbacks_since_best + 1,
        "adjustments": _REMEDIES[cause](watch.adjustments, 0.5 ** (watch.rollbacks_since_best + 1)),
        "evaluations_since_best": 0,
    }
    return RollBack(watch.model_copy(update=changed), cause, detail)


def regret(watch: Watch) -> str | None:
    """What to say at the end of a run of which nothing lives; None if something does, or nobody can tell."""
    if watch.best_distance is None or watch.has_something_to_serve:
        return None
    return (
        f"The run is over and its best samples are {watch.best_diversity:.0%} as varied as the pictures "
        f"(limit {DEAD:.0%}): nearly all are the same. Train on more images. {_ADVICE[Cause.MODE_COLLAPSE]}"
    )


def _cause(watch: Watch, signs: Signs, course: Course) -> Cause | None:
    """The first that applies: each explains those that come after it."""
    if not signs.is_finite:
        return Cause.NOT_FINITE
    is_varied, is_worse = signs.diversity >= COLLAPSED, _is_worse(watch, signs)
    has_run_away = signs.largest_loss > RUNAWAY and not course.wants_sure_discriminator
    is_dead = signs.diversity < DEAD and (has_run_away or not course.is_young)
    if is_dead or (is_worse and not is_varied):
        return Cause.MODE_COLLAPSE
    is_sure = min(signs.real_accuracy, signs.fake_accuracy) >= SURE and not course.wants_sure_discriminator
    is_stuck = watch.evaluations_since_best >= STUCK and not _is_better(watch, signs)
    if is_sure and (is_worse or (is_stuck and not course.is_young)):
        return Cause.DISCRIMINATOR_WINS
    if signs.memorised > COPIED and is_varied and watch.has_living_best and not course.is_young:
        return Cause.OVERFITTING
    return None


def _is_worse(watch: Watch, signs: Signs) -> bool:
    """Whether the pictures have become worse than varied ones were.

    A beginner's even grey can be nearer to the pictures than its first attempts: no measure for them.
    """
    if signs.distance is None or watch.best_distance is None or watch.best_diversity < COLLAPSED:
        return False
    return signs.distance > WORSE * watch.best_distance


def _go_on(watch: Watch, signs: Signs, images_seen: int) -> Continue:
    if not _is_better(watch, signs):
        waited = {"evaluations_since_best": watch.evaluations_since_best + 1}
        return Continue(watch.model_copy(update=waited), is_best=False)
    best = {
        "best_images_seen": images_seen,
        "best_distance": signs.distance,
        "best_diversity": signs.diversity,
        "has_lived": watch.has_something_to_serve or signs.diversity >= DEAD,
        "evaluations_since_best": 0,
        "rollbacks_since_best": 0 if signs.diversity >= DEAD else watch.rollbacks_since_best,
    }
    return Continue(watch.model_copy(update=best), is_best=True)


def _is_better(watch: Watch, signs: Signs) -> bool:
    """As `best_checkpoint` of the contract compares: what lives is better than what does not."""
    if watch.best_images_seen is None or watch.has_living_best is not (signs.diversity >= DEAD):
        return not watch.has_living_best
    return signs.distance is None or watch.best_distance is None or signs.distance < watch.best_distance


def _told(cause: Cause, signs: Signs, watch: Watch) -> str:
    distances = f"{_figure(signs.distance)} (best {_figure(watch.best_distance)})"
    return {
        Cause.NOT_FINITE: "Losses or weights are no longer finite numbers.",
        Cause.MODE_COLLAPSE: (
            f"The samples are {signs.diversity:.0%} as varied as the pictures (limit {COLLAPSED:.0%}), "
            f"their Fréchet distance is {distances}, and the largest loss, terms apart, is "
            f"{signs.largest_loss:.3g}."
        ),
        Cause.DISCRIMINATOR_WINS: (
            f"The discriminator judges {signs.real_accuracy:.0%} of the real pictures and "
            f"{signs.fake_accuracy:.0%} of the samples right (limit {SURE:.0%}), and the Fréchet distance is "
            f"{distances}."
        ),
        Cause.OVERFITTING: (
            f"{signs.memorised:.0%} of the samples are nearer to a training picture than new pictures are "
            f"(limit {COPIED:.0%})."
        ),
    }[cause]


def _figure(distance: float | None) -> str:
    return "unknown" if distance is None else f"{distance:.3g}"


def _slower(adjustments: Adjustments, pace: float) -> Adjustments:
    """Both players at a share of their pace: half, and at the next try a quarter of that."""
    return adjustments.model_copy(
        update={
            "generator_rate": adjustments.generator_rate * pace,
            "discriminator_rate": adjustments.discriminator_rate * pace,
        }
    )


def _held_back(adjustments: Adjustments, pace: float) -> Adjustments:
    """The discriminator alone slower, and shown pictures that are changed more, where that can still be."""
    changed = {
        "discriminator_rate": adjustments.discriminator_rate * pace,
        "augmentation": min(1.0, adjustments.augmentation + 0.25),
    }
    return adjustments.model_copy(update=changed)


_REMEDIES: Mapping[Cause, Callable[[Adjustments, float], Adjustments]] = {
    Cause.NOT_FINITE: _slower,
    Cause.MODE_COLLAPSE: _slower,
    Cause.DISCRIMINATOR_WINS: _held_back,
    Cause.OVERFITTING: _held_back,
}

_ADVICE: Mapping[Cause, str] = {
    Cause.NOT_FINITE: "Choose smaller learning rates, or precision float32.",
    Cause.MODE_COLLAPSE: "Choose smaller learning rates, or another objective, such as r3 or wgan_gp.",
    Cause.DISCRIMINATOR_WINS: "Choose a smaller discriminator_learning_rate, or the preset small-data.",
    Cause.OVERFITTING: "Send more pictures, choose fewer images, or the preset small-data.",
}
