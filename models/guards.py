"""Detects what goes wrong in a run from its evaluations, and decides what to do: a pure function of figures.

So a run that is killed and resumed makes the same decisions. Thresholds are shares and ratios, which mean the
same for every dataset. The figures come from `models.metrics`.
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
"""Give up on a run after this many rollbacks without a new living best."""

SURE = 0.98
"""A discriminator that judges this share of both reals and fakes right has nothing left to teach."""
STUCK = 2
"""A run is stuck in its next evaluation without a new best, after this many."""
COLLAPSED = 0.35
"""Diversity below this share of the reals' is a collapse if both were better before, or the run is stuck."""
RUNAWAY = 1_000.0
"""A loss beyond this means that weights have diverged, even in a young run.

It applies neither to terms, whose weight the user chooses, nor to critics, whose scores grow with the number
of pixels: a sound one reached 276 at 64 px.
"""
YOUNG_STEPS = 500
"""Before this many generator steps, a run may still lack variety, or an answer to its discriminator."""
WORSE = 1.5
"""A distance this many times the best is not noise."""
COPIED = 0.5
"""Overfitting: the share of samples nearer to a training image than reals are; 0.05 without memorisation."""


class Cause(StrEnum):
    """What went wrong."""

    NOT_FINITE = "not_finite"
    DISCRIMINATOR_WINS = "discriminator_wins"
    MODE_COLLAPSE = "mode_collapse"
    OVERFITTING = "overfitting"
    DECLINE = "decline"


class Signs(Frozen):
    """The figures of one evaluation that the guards use."""

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
        """The signs of an evaluation; None stands for a run whose numbers are no longer finite."""
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
    """Each player's loss from the objective alone: the size of terms depends on the user's weights."""
    for player in (name for name in losses if "/" not in name):
        yield losses.get(f"{player}/adversarial", losses[player])


class Adjustments(Frozen):
    """What the guards have changed in a run so far, relative to its spec."""

    generator_rate: float = 1.0
    discriminator_rate: float = 1.0
    augmentation: float = Field(0.0, description="Added to the strength of the augmentation, up to 1 in all.")


class Watch(Frozen):
    """The guards' memory: part of the training state."""

    begun_images_seen: int = 0
    """Where the run last restarted from its initial state."""
    best_images_seen: int | None = None
    best_distance: float | None = None
    best_diversity: float = 0.0
    has_lived: bool = False
    """Whether there ever was a living best, even if it is lost now."""
    evaluations_since_best: int = 0
    rollbacks_since_best: int = 0
    adjustments: Adjustments = Adjustments()

    @property
    def has_living_best(self) -> bool:
        """Whether there is a state to roll back to."""
        return self.best_images_seen is not None and self.best_diversity >= DEAD

    @property
    def has_something_to_serve(self) -> bool:
        """Whether there is a living checkpoint, even if the run cannot roll back to it."""
        return self.has_lived or self.has_living_best

    def begun_again(self, images_seen: int) -> Self:
        """The watch of a run that has been reset to its initial state.

        A living best must have been lost, or the run would have rolled back to it. It is dropped, because it
        is no measure for a run that starts over.
        """
        lost = {"best_images_seen": None, "best_distance": None, "best_diversity": 0.0, "has_lived": True}
        forgotten = lost if self.has_living_best else {}
        return self.model_copy(update={"begun_images_seen": images_seen, **forgotten})


@dataclass(frozen=True)
class Course:
    """The progress of a run, and the aim of its objective."""

    images_seen: int
    generator_steps: int
    wants_sure_discriminator: bool = False
    """The objective trains the discriminator to its optimum, so sure verdicts and large scores are fine."""

    @classmethod
    def of(cls, spec: TrainingSpec, images_seen: int, watch: Watch) -> Self:
        """The course of a run since its networks were last in their initial state."""
        objective = objectives.build(spec.objective)
        steps = (images_seen - watch.begun_images_seen) // (spec.batch_size * objective.discriminator_steps)
        return cls(images_seen, steps, objective.wants_sure_discriminator)

    @property
    def is_young(self) -> bool:
        return self.generator_steps < YOUNG_STEPS


@dataclass(frozen=True)
class Continue:
    """No problem was detected."""

    watch: Watch
    is_best: bool


@dataclass(frozen=True)
class RollBack:
    """Go back to the best state, or to the initial one if no best lives, with the adjustments in `watch`."""

    watch: Watch
    cause: Cause
    detail: str

    @property
    def goal_images_seen(self) -> int | None:
        """The images seen at the state to return to; None for the initial state."""
        return self.watch.best_images_seen if self.watch.has_living_best else None


@dataclass(frozen=True)
class GiveUp:
    """Rolling back has not helped."""

    cause: Cause
    detail: str


Verdict = Continue | RollBack | GiveUp


def judge(watch: Watch, signs: Signs, course: Course) -> Verdict:
    """Decide what to do after an evaluation."""
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
    """The message for a finished run whose best samples lack variety; None if it is not known to be one."""
    if watch.best_distance is None or watch.best_diversity >= COLLAPSED:
        return None
    if watch.has_lived and not watch.has_living_best:
        return None  # an earlier best is served
    alike = "many are alike" if watch.has_living_best else "nearly all are the same"
    return (
        f"The run is over and its best samples are {watch.best_diversity:.0%} as varied as the pictures "
        f"(limit {COLLAPSED:.0%}): {alike}. Train on more images. {_ADVICE[Cause.MODE_COLLAPSE]}"
    )


def _cause(watch: Watch, signs: Signs, course: Course) -> Cause | None:
    """The first cause that applies; each explains those after it."""
    if not signs.is_finite:
        return Cause.NOT_FINITE
    is_worse = _is_worse(watch, signs)
    is_stuck = watch.evaluations_since_best >= STUCK and not _is_better(watch, signs)
    if _has_collapsed(watch, signs, course, is_worse=is_worse, is_stuck=is_stuck):
        return Cause.MODE_COLLAPSE
    is_sure = min(signs.real_accuracy, signs.fake_accuracy) >= SURE and not course.wants_sure_discriminator
    if is_sure and (is_worse or (is_stuck and not course.is_young)):
        return Cause.DISCRIMINATOR_WINS
    is_varied = signs.diversity >= COLLAPSED
    if signs.memorised > COPIED and is_varied and watch.has_living_best and not course.is_young:
        return Cause.OVERFITTING
    if is_worse and is_stuck and not course.is_young and watch.rollbacks_since_best < PATIENCE:
        return Cause.DECLINE  # never a reason to give up: the best is served anyway
    return None


def _has_collapsed(watch: Watch, signs: Signs, course: Course, *, is_worse: bool, is_stuck: bool) -> bool:
    """Whether the samples lack variety, and it cannot be the beginning of a sound run."""
    if signs.diversity >= COLLAPSED:
        return False
    if is_worse or (is_stuck and not course.is_young):
        return True
    has_run_away = signs.largest_loss > RUNAWAY and not course.wants_sure_discriminator
    is_grown = not course.is_young or (watch.has_living_best and is_stuck)
    return signs.diversity < DEAD and (has_run_away or is_grown)


def _is_worse(watch: Watch, signs: Signs) -> bool:
    """Whether the samples are worse than the best varied ones.

    A best without variety does not count: the uniform grey of a young run can have a smaller distance than
    its first real attempts.
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
    """Compares as the contract's `best_checkpoint` does: living is better than dead."""
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
        Cause.DECLINE: (
            f"The Fréchet distance is {distances}, more than {WORSE:g} times the best, which is "
            f"{watch.evaluations_since_best + 1} evaluations old."
        ),
    }[cause]


def _figure(distance: float | None) -> str:
    return "unknown" if distance is None else f"{distance:.3g}"


def _slower(adjustments: Adjustments, pace: float) -> Adjustments:
    """Multiply both learning rates by `pace`: a half, at the next attempt a further quarter."""
    return adjustments.model_copy(
        update={
            "generator_rate": adjustments.generator_rate * pace,
            "discriminator_rate": adjustments.discriminator_rate * pace,
        }
    )


def _held_back(adjustments: Adjustments, pace: float) -> Adjustments:
    """Slow down the discriminator alone, and strengthen the augmentation while it is below 1."""
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
    Cause.DECLINE: _slower,
}

_ADVICE: Mapping[Cause, str] = {
    Cause.NOT_FINITE: "Choose smaller learning rates, or precision float32.",
    Cause.MODE_COLLAPSE: "Choose smaller learning rates, or another objective, such as r3 or wgan_gp.",
    Cause.DISCRIMINATOR_WINS: "Choose a smaller discriminator_learning_rate, or the preset small-data.",
    Cause.OVERFITTING: "Send more pictures, choose fewer images, or the preset small-data.",
    Cause.DECLINE: "Choose smaller learning rates, or fewer images.",
}
