"""Decides what to do about what goes wrong in a run: a pure function of the figures of its evaluations.

So a run that is killed and resumed makes the same decisions.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from contract.evaluation import DEAD
from models.course import Course
from models.diagnosis import (
    Cause,
    acts_at,
    describe,
    diagnose,
    has_varied_best,
    is_better,
    suspects,
)
from models.signs import COLLAPSED, REPEATED, Signs
from models.watch import Adjustments, Watch

PATIENCE = 3
"""Give up on a run after this many rollbacks without a new living best."""


@dataclass(frozen=True)
class Suspicion:
    """The first signs of a problem, which may be noise: nothing is done unless they last."""

    cause: Cause
    detail: str


@dataclass(frozen=True)
class Continue:
    """There is nothing to act on."""

    watch: Watch
    is_best: bool
    suspicion: Suspicion | None = None
    """Reported once for each cause, until a rollback or a sound new best."""


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


Decision = Continue | RollBack | GiveUp


def decide(watch: Watch, signs: Signs, course: Course) -> Decision:
    """Decide what to do after an evaluation."""
    cause = diagnose(watch, signs, course)
    if cause is None or _is_put_up_with(cause, watch):
        return _go_on(watch, signs, course)
    detail = describe(cause, signs, watch)
    if _has_tried_enough(watch):
        return GiveUp(cause, f"{detail} Going back {PATIENCE} times has not helped. {_ADVICE[cause]}")
    changed = {
        "rollbacks_since_best": watch.rollbacks_since_best + 1,
        "adjustments": _REMEDIES[cause](watch.adjustments, 0.5 ** (watch.rollbacks_since_best + 1)),
        "evaluations_since_best": 0,
        "suspected": (),
    }
    return RollBack(watch.model_copy(update=changed), cause, detail)


def regret(watch: Watch) -> str | None:
    """The message for a finished run whose best samples lack variety; None if it is not known to be one."""
    if watch.best_distance is None or has_varied_best(watch):
        return None
    if watch.has_lived and not watch.has_living_best:
        return None  # an earlier best is served
    alike = "many are alike" if watch.has_living_best else "nearly all are the same"
    return (
        f"The run is over and its best samples are {' and '.join(_shortcomings(watch))}: {alike}. "
        f"Train on more images. {_ADVICE[Cause.MODE_COLLAPSE]}"
    )


def _shortcomings(watch: Watch) -> Iterator[str]:
    """In what the best samples lack variety, with the limits."""
    if watch.best_diversity < COLLAPSED:
        yield f"{watch.best_diversity:.0%} as varied as the pictures (limit {COLLAPSED:.0%})"
    if watch.best_repeated:
        limit = watch.best_repeated_limit or REPEATED
        yield f"nearly the same in {watch.best_repeated:.0%} of their pairs (limit {limit:.0%})"


def _go_on(watch: Watch, signs: Signs, course: Course) -> Continue:
    is_best = is_better(watch, signs)
    seen = _with_best(watch, signs, course) if is_best else _without(watch)
    suspicion = _suspicion(watch, signs, course, seen)
    if suspicion:
        seen = seen.model_copy(update={"suspected": (*watch.suspected, suspicion.cause)})
    elif is_best and signs.are_varied and not any(suspects(seen, signs, course)):
        seen = seen.model_copy(update={"suspected": ()})
    return Continue(seen, is_best, suspicion)


def _with_best(watch: Watch, signs: Signs, course: Course) -> Watch:
    repeats = signs.repeated > signs.repeated_limit
    best = {
        "best_images_seen": course.images_seen,
        "best_distance": signs.distance,
        "best_diversity": signs.diversity,
        "best_repeated": signs.repeated if repeats else 0.0,
        "best_repeated_limit": signs.repeated_limit if repeats else None,
        "has_lived": watch.has_something_to_serve or signs.diversity >= DEAD,
        "evaluations_since_best": 0,
        "rollbacks_since_best": 0 if signs.diversity >= DEAD else watch.rollbacks_since_best,
    }
    return watch.model_copy(update=best)


def _without(watch: Watch) -> Watch:
    return watch.model_copy(update={"evaluations_since_best": watch.evaluations_since_best + 1})


def _suspicion(watch: Watch, signs: Signs, course: Course, seen: Watch) -> Suspicion | None:
    """What the guards wait for, unless it was reported; `seen` is the memory with this evaluation."""
    for cause in suspects(watch, signs, course):
        if cause not in watch.suspected and not _is_put_up_with(cause, watch):
            outlook = _outlook(cause, seen, signs, course)
            return Suspicion(cause, f"{describe(cause, signs, watch)} {outlook}")
    return None


def _outlook(cause: Cause, watch: Watch, signs: Signs, course: Course) -> str:
    """When the guards act if this lasts; `watch` is the memory with this evaluation."""
    end = "fails" if _has_tried_enough(watch) else "goes back"
    at = acts_at(cause, watch, signs, course)
    if at == course.images_seen:
        left = course.stuck_after + 1 - watch.evaluations_since_best
        return (
            f"The run {end} if this lasts, without a new best, for {left} more evaluation{'s' * (left != 1)}."
        )
    if at is None:
        outlook = "is over before the guards act on this"
    elif at >= course.total_images:
        outlook = (
            f"{'returns to its best' if watch.has_something_to_serve else 'fails'} if this lasts to its end"
        )
    else:
        outlook = f"{end} if this lasts beyond {at:,} images"
    sure = signs.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    if acts_at(cause, watch, sure, course) != at:
        outlook += f", {'or earlier' if at else 'except'} if the discriminator becomes sure"
    return f"The run is young, and {outlook}."


def _has_tried_enough(watch: Watch) -> bool:
    return watch.rollbacks_since_best >= PATIENCE


def _is_put_up_with(cause: Cause, watch: Watch) -> bool:
    """Whether no more is done about this: after a decline the best is served anyway."""
    return cause is Cause.DECLINE and _has_tried_enough(watch)


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
