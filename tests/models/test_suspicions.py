"""The first signs of a failure are reported at once, even where the guards wait until they last."""

import pytest

from models.diagnosis import YOUNG_STEPS, Cause, Course
from models.guards import PATIENCE, Continue, RollBack, decide
from tests.models.test_guards import BEGINNING, GROWN, WATCH, WELL


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
    ill, course = WELL.model_copy(update=signs), Course(2000, YOUNG_STEPS, stuck_after=10)
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
    sure = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    tried = WATCH.model_copy(update={"rollbacks_since_best": PATIENCE})
    last = decide(tried, sure, GROWN)
    assert isinstance(last, Continue)
    assert last.suspicion
    assert "The run fails if this lasts" in last.suspicion.detail
    declined = decide(tried, WELL.model_copy(update={"distance": 16}), GROWN)
    assert isinstance(declined, Continue)
    assert not declined.suspicion  # the run goes on with its best


def test_sound_or_better_run_raises_no_suspicion() -> None:
    sure = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    for signs, course in [
        (WELL, GROWN),
        (sure.model_copy(update={"distance": 9}), GROWN),
        (sure.model_copy(update={"distance": 9}), BEGINNING),
    ]:
        decision = decide(WATCH, signs, course)
        assert isinstance(decision, Continue)
        assert not decision.suspicion
