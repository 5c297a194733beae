"""Tells from the figures of an evaluation what goes wrong in a run: a pure function.

Thresholds are shares and ratios, so they mean the same for every dataset. `models.metrics` makes the figures.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from pydantic import Field

from contract.evaluation import DEAD, Evaluation
from contract.plugin import Frozen
from contract.training import TrainingSpec
from models import objectives
from models.metrics.neighbours import COMMON
from models.watch import Watch
from models.workload import passes

SURE = 0.98
"""A discriminator that judges this share of both reals and fakes right has nothing left to teach."""
STUCK, STUCK_SHARE = 2, 0.1
"""A run is stuck in its next evaluation without a new best, after this many and this share of its own.

Without the share, a run with hundreds of evaluations would be stuck whenever their noise hides its progress.
"""
COLLAPSED = 0.35
"""Diversity below this share of the reals' is a collapse if both were better before, or the run is stuck."""
REPEATED = 0.05
"""So is a larger share of nearly equal pairs of samples: fewer than twenty pictures, equally often.

Sound runs of the presets had 0.01 % at most at 32 px and 0.05 % at 128 px, at any age, and one with hinge up
to 1.2 %.
"""
AS_USUAL = 3
"""Samples may repeat each other this many times as often as reals, or as all training pictures in turn."""
RUNAWAY = 1_000.0
"""A loss beyond this means that weights have diverged, even in a young run.

It applies neither to terms, whose weight the user chooses, nor to critics, whose scores grow with the number
of pixels: a sound one reached 276 at 64 px.
"""
YOUNG_STEPS = 500
"""Before this many generator steps, a run may still lack variety, or an answer to its discriminator."""
HOPELESS_STEPS = 200
"""Before this many, it may lack both: a sure discriminator and equal samples are usual at 50, not later."""
LIFELESS = 0.02
"""A generator with less diversity makes one picture. No sound one does after its first steps, at any rate.

A run that ends so has failed. Before its end this counts for critics alone, as nothing else tells early that
one of theirs is dead.
"""
NEWBORN_STEPS = 100
"""Before this many, its samples may be that much alike: at 128 px they began with a diversity of 4 %."""
FULL_RATE = 1e-4
"""The learning rate below which a generator's steps count for less: at 1e-5 it may need 5,000 for variety."""
WORSE = 1.5
"""A distance this many times the best is not noise."""
COPIED = 0.5
"""Overfitting: the share of samples nearer to a training image than reals are; `COMMON` if they are new."""
LEAST_COPIED = 0.3
"""The least limit for that where only some of the training images are searched.

Less may be chance, or samples that are all of the most usual kind. A sound run had 2 % among 57,000 pictures.
"""
LEAST_SEARCHED = 0.3
"""With a smaller share of them searched, even copies of all of them are hardly more than `LEAST_COPIED`."""


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


@dataclass(frozen=True)
class Course:
    """The progress of a run, and the aim of its objective."""

    images_seen: int
    total_images: int
    generator_steps: int
    """Since the beginning, or as many at `FULL_RATE` as moved the weights as far."""
    stuck_after: int = STUCK
    """Evaluations without a new best after which the run is stuck in the next."""
    begun_images_seen: int = 0
    """Where those steps began."""
    images_per_step: float = 1.0
    """For one of them; infinite at a rate that moves nothing."""
    wants_sure_discriminator: bool = False
    """The objective trains the discriminator to its optimum, so sure verdicts and large scores are fine."""

    @classmethod
    def of(cls, spec: TrainingSpec, images_seen: int, watch: Watch, every_images: int) -> Self:
        """The course of a run since its networks were last in their initial state, evaluated that often."""
        step_images = spec.batch_size * spec.objective.discriminator_steps
        steps = (images_seen - watch.begun_images_seen) // step_images
        pace = min(1.0, spec.generator_learning_rate * watch.begun_generator_rate / FULL_RATE)
        evaluations = passes(spec.total_images, every_images, spec.batch_size, at_the_end=True)
        return cls(
            images_seen,
            spec.total_images,
            generator_steps=int(steps * pace),
            stuck_after=max(STUCK, round(STUCK_SHARE * evaluations)),
            begun_images_seen=watch.begun_images_seen,
            images_per_step=step_images / pace if pace else math.inf,
            wants_sure_discriminator=objectives.build(spec.objective).wants_sure_discriminator,
        )

    @property
    def is_young(self) -> bool:
        return self.generator_steps < YOUNG_STEPS

    @property
    def is_newborn(self) -> bool:
        return self.generator_steps < NEWBORN_STEPS

    @property
    def is_over(self) -> bool:
        return self.images_seen >= self.total_images

    def if_it_lasts(self) -> Iterator[Self]:
        """The run once stuck: now, at each age from which the guards judge otherwise, and at its end."""
        later = replace(self, stuck_after=0)
        yield later
        for steps in (NEWBORN_STEPS, HOPELESS_STEPS, YOUNG_STEPS):
            images = self.begun_images_seen + steps * self.images_per_step
            if steps > self.generator_steps and images <= self.total_images:
                later = replace(later, images_seen=round(images), generator_steps=steps)
                yield later
        yield replace(later, images_seen=self.total_images)


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
