"""What is usual in the beginning of a sound run is left alone; what never is, is reported at once."""

from dataclasses import replace

import pytest

from contract.evaluation import DEAD
from models.diagnosis import HOPELESS_STEPS, LIFELESS, NEWBORN_STEPS, YOUNG_STEPS, Cause, Course, Signs
from models.guards import PATIENCE, Continue, GiveUp, RollBack, decide
from models.watch import Watch
from tests.models.test_guards import WATCH, WELL

ONE_PICTURE = WELL.model_copy(update={"diversity": LIFELESS / 2, "repeated": 1.0, "distance": 100})
NEARLY_ONE = ONE_PICTURE.model_copy(update={"diversity": DEAD / 2})
BLURS = ONE_PICTURE.model_copy(update={"diversity": 0.12})
"""As those of sound Wasserstein runs at 32 px are after 200 steps of their generator."""
SURE = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0, "distance": 14})


def course(generator_steps: int, *, critic: bool = False, grown: int | None = 16_000) -> Course:
    return Course(500, generator_steps, grown_images_seen=grown, wants_sure_discriminator=critic)


def test_critics_generator_of_one_picture_is_reported_at_once_and_acted_on_after_its_first_steps() -> None:
    first = decide(Watch(), ONE_PICTURE, course(1, critic=True))
    assert isinstance(first, Continue)
    assert first.suspicion
    assert first.suspicion.cause is Cause.MODE_COLLAPSE
    watch = first.watch
    for _ in range(PATIENCE):
        decision = decide(watch, ONE_PICTURE, course(NEWBORN_STEPS, critic=True))
        assert isinstance(decision, RollBack)
        assert (decision.cause, decision.goal_images_seen) == (Cause.MODE_COLLAPSE, None)
        watch = decision.watch
    assert isinstance(decide(watch, ONE_PICTURE, course(NEWBORN_STEPS, critic=True)), GiveUp)


def test_other_generators_of_one_picture_are_acted_on_in_youth_if_nothing_is_left_to_learn_from() -> None:
    first = decide(Watch(), ONE_PICTURE, course(YOUNG_STEPS - 1))
    assert isinstance(first, Continue)
    assert first.suspicion
    taught = ONE_PICTURE.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    assert isinstance(decide(Watch(), taught, course(HOPELESS_STEPS - 1)), Continue)
    assert isinstance(decide(Watch(), taught, course(HOPELESS_STEPS)), RollBack)


@pytest.mark.parametrize("critic", [False, True])
def test_run_that_ends_with_one_picture_after_its_first_steps_is_rejected_however_young(
    *, critic: bool
) -> None:
    def ended(steps: int) -> Course:
        return replace(course(steps, critic=critic), total_images=500)

    assert isinstance(decide(Watch(), ONE_PICTURE, ended(NEWBORN_STEPS)), RollBack)
    assert isinstance(decide(Watch(), ONE_PICTURE, ended(NEWBORN_STEPS - 1)), Continue)
    assert isinstance(decide(Watch(), NEARLY_ONE, ended(YOUNG_STEPS - 1)), Continue)


def test_first_steps_of_a_slow_generator_are_more() -> None:
    """The effective number counts, as for youth."""
    assert isinstance(decide(Watch(), ONE_PICTURE, course(NEWBORN_STEPS - 1, critic=True)), Continue)


@pytest.mark.parametrize(
    ("signs", "steps", "cause"),
    [
        (NEARLY_ONE, NEWBORN_STEPS - 1, None),
        (NEARLY_ONE, NEWBORN_STEPS, Cause.MODE_COLLAPSE),
        (BLURS, YOUNG_STEPS - 1, None),
        (BLURS, YOUNG_STEPS, Cause.MODE_COLLAPSE),
    ],
)
def test_first_samples_are_suspect_if_those_of_sound_runs_are_more_varied_by_then(
    signs: Signs, steps: int, cause: Cause | None
) -> None:
    decision = decide(Watch(), signs, course(steps, critic=True))
    assert isinstance(decision, Continue)
    assert (decision.suspicion.cause if decision.suspicion else None) is cause


@pytest.mark.parametrize(
    ("grown", "outlook"), [(16_000, "beyond 16,000 images"), (None, "is over before the guards act")]
)
def test_young_run_is_told_when_the_guards_will_act(grown: int | None, outlook: str) -> None:
    for signs, cause in [
        (SURE, Cause.DISCRIMINATOR_WINS),
        (WELL.model_copy(update={"distance": 16}), Cause.DECLINE),
        (WELL.model_copy(update={"memorised": 0.9}), Cause.OVERFITTING),
    ]:
        decision = decide(WATCH, signs, course(YOUNG_STEPS - 1, grown=grown))
        assert isinstance(decision, Continue)
        assert decision.suspicion
        assert decision.suspicion.cause is cause
        assert outlook in decision.suspicion.detail


def test_sure_discriminator_of_a_young_run_is_not_hidden_by_samples_as_usual() -> None:
    alike = SURE.model_copy(update={"diversity": 0.15, "repeated": 0.9})
    watch = Watch(best_images_seen=400, best_distance=13, best_diversity=0.14, best_repeated=0.9)
    decision = decide(watch, alike, course(NEWBORN_STEPS))
    assert isinstance(decision, Continue)
    assert decision.suspicion
    assert decision.suspicion.cause is Cause.DISCRIMINATOR_WINS
