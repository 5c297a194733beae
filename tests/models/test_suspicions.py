"""The first signs of a failure are reported at once, even where the guards wait until they last."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest

from models.course import Course
from models.diagnosis import Cause
from models.guards import PATIENCE, Continue, RollBack, decide
from models.signs import Signs
from models.watch import Watch
from tests.models.test_guards import BEGINNING, GROWN, WATCH, WELL

SURE = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
PATIENT = replace(GROWN, stuck_after=1000)


@pytest.mark.parametrize(
    ("signs", "cause", "figures"),
    [
        ({"real_accuracy": 1.0, "fake_accuracy": 1.0, "distance": 14}, Cause.DISCRIMINATOR_WINS, "100%"),
        ({"diversity": 0.2, "distance": 14}, Cause.MODE_COLLAPSE, "20%"),
        ({"distance": 16}, Cause.DECLINE, "16 (best 10)"),
    ],
)
def test_first_signs_are_reported_once_and_acted_on_if_they_last(
    signs: dict[str, float], cause: Cause, figures: str
) -> None:
    ill, course = WELL.model_copy(update=signs), replace(GROWN, stuck_after=10)
    first = decide(WATCH, ill, course)
    assert isinstance(first, Continue)
    assert first.suspicion
    assert first.suspicion.cause is cause
    assert figures in first.suspicion.detail
    assert "for 10 more evaluations" in first.suspicion.detail
    watch = first.watch
    for _ in range(9):
        decision = decide(watch, ill, course)
        assert isinstance(decision, Continue)
        assert not decision.suspicion
        watch = decision.watch
    acted = decide(watch, ill, course)
    assert isinstance(acted, RollBack)
    again = decide(acted.watch, ill, course)
    assert isinstance(again, Continue)
    assert again.suspicion


def test_last_suspicion_says_that_the_run_fails() -> None:
    tried = WATCH.model_copy(update={"rollbacks_since_best": PATIENCE})
    last = decide(tried, SURE, GROWN)
    assert isinstance(last, Continue)
    assert last.suspicion
    assert "The run fails if this lasts" in last.suspicion.detail
    declined = decide(tried, WELL.model_copy(update={"distance": 16}), GROWN)
    assert isinstance(declined, Continue)
    assert not declined.suspicion  # the run goes on with its best


def suspicions(watch: Watch, evaluations: Iterable[tuple[Signs, Course]]) -> list[Cause | None]:
    found: list[Cause | None] = []
    for signs, course in evaluations:
        decision = decide(watch, signs, course)
        assert isinstance(decision, Continue)
        found.append(decision.suspicion.cause if decision.suspicion else None)
        watch = decision.watch
    return found


def test_second_cause_is_reported_although_the_first_one_lasts() -> None:
    both = SURE.model_copy(update={"memorised": 0.9})
    told = suspicions(WATCH, [(both, BEGINNING)] * 4)
    assert told == [Cause.DISCRIMINATOR_WINS, Cause.OVERFITTING, None, None]


def test_warning_in_youth_is_not_the_only_one_if_the_run_recovers() -> None:
    better = WELL.model_copy(update={"distance": 9})
    told = suspicions(WATCH, [(SURE, BEGINNING), (better, BEGINNING), (SURE, GROWN)])
    assert told == [Cause.DISCRIMINATOR_WINS, None, Cause.DISCRIMINATOR_WINS]


@pytest.mark.parametrize("unsound", [{"real_accuracy": 1.0, "fake_accuracy": 1.0}, {"diversity": 0.3}])
def test_new_best_that_is_not_sound_itself_is_no_recovery(unsound: dict[str, float]) -> None:
    better = WELL.model_copy(update={"distance": 9, **unsound})
    told = suspicions(WATCH, [(SURE, BEGINNING), (better, BEGINNING), (SURE, BEGINNING)])
    assert told == [Cause.DISCRIMINATOR_WINS, None, None]


@pytest.mark.parametrize("others", [WELL, SURE.model_copy(update={"distance": 9.99})])
def test_run_that_hovers_is_warned_once(others: Signs) -> None:
    """Whether it is sound at every other evaluation, or its distances hover around that of the best."""
    told = suspicions(WATCH, [(SURE, PATIENT), (others, PATIENT)] * 40)
    assert told == [Cause.DISCRIMINATOR_WINS, *[None] * 79]


def test_run_is_warned_no_more_often_than_it_recovers() -> None:
    chance = Random(0)
    distances = [chance.uniform(9, 11) for _ in range(300)]
    hovering = [
        SURE.model_copy(update={"distance": distance, "fake_accuracy": chance.uniform(0.96, 1)})
        for distance in distances
    ]
    bests = sum(distances[place] < min(distances[:place]) for place in range(1, len(distances)))
    told = [cause for cause in suspicions(Watch(), [(signs, PATIENT) for signs in hovering]) if cause]
    assert 1 < len(told) <= bests + 1 < 12


def test_sound_or_better_run_raises_no_suspicion() -> None:
    for signs, course in [
        (WELL, GROWN),
        (SURE.model_copy(update={"distance": 9}), GROWN),
        (SURE.model_copy(update={"distance": 9}), BEGINNING),
    ]:
        decision = decide(WATCH, signs, course)
        assert isinstance(decision, Continue)
        assert not decision.suspicion
