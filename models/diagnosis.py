"""Tells from the figures of an evaluation what goes wrong in a run: a pure function."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from contract.evaluation import DEAD
from models.course import HOPELESS_STEPS, YOUNG_STEPS, Course
from models.signs import COLLAPSED, Signs
from models.watch import Watch

SURE = 0.98
"""A discriminator that judges this share of both reals and fakes right has nothing left to teach."""
RUNAWAY = 1_000.0
"""A loss beyond this means that weights have diverged, even in a young run.

It applies neither to terms, whose weight the user chooses, nor to critics, whose scores grow with the number
of pixels: a sound one reached 276 at 64 px.
"""
LIFELESS = 0.02
"""A generator with less diversity makes one picture. No sound one does after its first steps, at any rate.

A run that ends so has failed. Before its end this counts for critics alone, as nothing else tells early that
one of theirs is dead.
"""
WORSE = 1.5
"""A distance this many times the best is not noise."""


class Cause(StrEnum):
    """What went wrong."""

    NOT_FINITE = "not_finite"
    DISCRIMINATOR_WINS = "discriminator_wins"
    MODE_COLLAPSE = "mode_collapse"
    OVERFITTING = "overfitting"
    DECLINE = "decline"


def diagnose(watch: Watch, signs: Signs, course: Course) -> Cause | None:
    """What is wrong with a run, if anything; the first cause that applies explains those after it."""
    return next(_Look(watch, signs, course).causes(), None)


def suspects(watch: Watch, signs: Signs, course: Course) -> Iterator[Cause]:
    """What will be wrong with a run that stays like this: whatever waits until the run is stuck, or grown."""
    if not (course.is_young or signs.are_varied):
        yield Cause.MODE_COLLAPSE  # even if it is the best so far
    later = replace(course, stuck_after=0, generator_steps=max(course.generator_steps, YOUNG_STEPS))
    for cause in _Look(watch, signs, later).causes():
        if not _is_usual(cause, watch, signs, course):
            yield cause


def _is_usual(cause: Cause, watch: Watch, signs: Signs, course: Course) -> bool:
    """Whether this happens in the youth of sound runs."""
    may_be_alike = course.is_newborn and not watch.has_living_best
    is_dead = signs.diversity < (LIFELESS if may_be_alike else DEAD)
    return cause is Cause.MODE_COLLAPSE and course.is_young and not is_dead


def acts_at(cause: Cause, watch: Watch, signs: Signs, course: Course) -> int | None:
    """The images after which the guards act if a run without a new best stays like this.

    Those already seen if only its being stuck is waited for; None if it ends before.
    """
    ages = (age for age in course.if_it_lasts() if cause in _Look(watch, signs, age).causes())
    return next((age.images_seen for age in ages), None)


def describe(cause: Cause, signs: Signs, watch: Watch) -> str:
    """A sentence with the figures that a cause is told by, and their limits."""
    distances = f"{_figure(signs.distance)} (best {_figure(watch.best_distance)})"
    verdicts = (
        f"{signs.real_accuracy:.0%} of the real pictures and {signs.fake_accuracy:.0%} of the samples right"
    )
    return {
        Cause.NOT_FINITE: "Losses or weights are no longer finite numbers.",
        Cause.MODE_COLLAPSE: (
            f"The samples are {signs.diversity:.0%} as varied as the pictures (limit {COLLAPSED:.0%}), "
            f"{signs.repeated:.0%} of their pairs are nearly the same (limit {signs.repeated_limit:.0%}), "
            f"their Fréchet distance is {distances}, the largest loss, terms apart, is "
            f"{signs.largest_loss:.3g}, and the discriminator judges {verdicts}."
        ),
        Cause.DISCRIMINATOR_WINS: (
            f"The discriminator judges {verdicts} (limit {SURE:.0%}), and the Fréchet distance "
            f"is {distances}."
        ),
        Cause.OVERFITTING: (
            f"{signs.memorised:.0%} of the samples are nearer to a training picture than new pictures are "
            f"(limit {signs.memorised_limit:.0%})."
        ),
        Cause.DECLINE: (
            f"The Fréchet distance is {distances}, more than {WORSE:g} times the best, which is "
            f"{watch.evaluations_since_best + 1} evaluations old."
        ),
    }[cause]


def _figure(distance: float | None) -> str:
    return "unknown" if distance is None else f"{distance:.3g}"


def is_better(watch: Watch, signs: Signs) -> bool:
    """Compares as the contract's `best_checkpoint` does: living is better than dead."""
    if watch.best_images_seen is None or watch.has_living_best is not (signs.diversity >= DEAD):
        return not watch.has_living_best
    return signs.distance is None or watch.best_distance is None or signs.distance < watch.best_distance


def has_varied_best(watch: Watch) -> bool:
    return watch.best_diversity >= COLLAPSED and not watch.best_repeated


@dataclass(frozen=True)
class _Look:
    """One evaluation of a run, compared with what was seen before."""

    watch: Watch
    signs: Signs
    course: Course

    def causes(self) -> Iterator[Cause]:
        """The causes that apply; each explains those after it."""
        watch, signs, is_young = self.watch, self.signs, self.course.is_young
        if not signs.is_finite:
            yield Cause.NOT_FINITE
        if self._has_collapsed:
            yield Cause.MODE_COLLAPSE
        if self._is_sure and (self._is_worse or (self._is_stuck and not is_young)):
            yield Cause.DISCRIMINATOR_WINS
        is_copying = signs.memorised > signs.memorised_limit and signs.are_varied
        if is_copying and watch.has_living_best and not is_young:
            yield Cause.OVERFITTING
        if self._is_worse and self._is_stuck and not is_young:
            yield Cause.DECLINE

    @property
    def _has_collapsed(self) -> bool:
        """Whether the samples lack variety, and it cannot be the beginning of a sound run."""
        signs, course = self.signs, self.course
        if signs.are_varied:
            return False
        if self._is_worse or (self._is_stuck and not course.is_young):
            return True
        makes_one_picture = signs.diversity < LIFELESS and not course.is_newborn
        if makes_one_picture and (course.wants_sure_discriminator or course.is_over):
            return True
        has_run_away = signs.largest_loss > RUNAWAY and not course.wants_sure_discriminator
        was_alive = self.watch.has_living_best and self._is_stuck
        is_hopeless = self._is_sure and course.generator_steps >= HOPELESS_STEPS
        return signs.diversity < DEAD and (not course.is_young or has_run_away or was_alive or is_hopeless)

    @property
    def _is_sure(self) -> bool:
        """Whether the discriminator has nothing left to teach, as a critic should not have."""
        signs = self.signs
        is_right = min(signs.real_accuracy, signs.fake_accuracy) >= SURE
        return is_right and not self.course.wants_sure_discriminator

    @property
    def _is_stuck(self) -> bool:
        return self.watch.evaluations_since_best >= self.course.stuck_after and not is_better(
            self.watch, self.signs
        )

    @property
    def _is_worse(self) -> bool:
        """Whether the samples are worse than the best varied ones.

        A best without variety does not count: the uniform grey of a young run can have a smaller distance
        than its first real attempts.
        """
        distance, best = self.signs.distance, self.watch.best_distance
        if distance is None or best is None or not has_varied_best(self.watch):
            return False
        return distance > WORSE * best
