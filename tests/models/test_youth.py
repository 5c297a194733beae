"""What is usual in the beginning of a sound run is left alone; what never is, is reported at once."""

import pytest

from contract.evaluation import DEAD
from models.course import HOPELESS_STEPS, NEWBORN_STEPS, YOUNG_STEPS, Course
from models.diagnosis import LIFELESS, Cause
from models.guards import PATIENCE, Continue, GiveUp, RollBack, decide
from models.signs import Signs
from models.watch import Watch
from tests.models.test_guards import WATCH, WELL

ONE_PICTURE = WELL.model_copy(update={"diversity": LIFELESS / 2, "repeated": 1.0, "distance": 100})
NEARLY_ONE = ONE_PICTURE.model_copy(update={"diversity": DEAD / 2})
BLURS = ONE_PICTURE.model_copy(update={"diversity": 0.12})
"""As those of sound Wasserstein runs at 32 px are after 200 steps of their generator."""
TAUGHT = {"real_accuracy": 1.0, "fake_accuracy": 1.0}
SURE = WELL.model_copy(update={**TAUGHT, "distance": 14})


def course(generator_steps: int, *, critic: bool = False, total_images: int = 60_000) -> Course:
    seen = 32 * generator_steps
    return Course(seen, total_images, generator_steps, images_per_step=32, wants_sure_discriminator=critic)


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
    taught = ONE_PICTURE.model_copy(update=TAUGHT)
    assert isinstance(decide(Watch(), taught, course(HOPELESS_STEPS - 1)), Continue)
    assert isinstance(decide(Watch(), taught, course(HOPELESS_STEPS)), RollBack)


@pytest.mark.parametrize("critic", [False, True])
def test_run_that_ends_with_one_picture_after_its_first_steps_is_rejected_however_young(
    *, critic: bool
) -> None:
    def ended(steps: int) -> Course:
        return course(steps, critic=critic, total_images=32 * steps)

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
    ("total_images", "outlook"),
    [
        (60_000, "goes back if this lasts beyond 16,000 images."),
        (12_000, "is over before the guards act on this."),
    ],
)
def test_young_run_is_told_when_the_guards_will_act(total_images: int, outlook: str) -> None:
    for signs, cause in [
        (SURE, Cause.DISCRIMINATOR_WINS),
        (WELL.model_copy(update={"distance": 16}), Cause.DECLINE),
        (WELL.model_copy(update={"memorised": 0.9}), Cause.OVERFITTING),
    ]:
        decision = decide(WATCH, signs, course(300, total_images=total_images))
        assert isinstance(decision, Continue)
        assert decision.suspicion
        assert decision.suspicion.cause is cause
        assert outlook in decision.suspicion.detail


@pytest.mark.parametrize(
    ("signs", "critic", "total_images", "outlook"),
    [
        (ONE_PICTURE, True, 60_000, "goes back if this lasts beyond 3,200 images."),
        (ONE_PICTURE, True, 3_000, "is over before the guards act on this."),
        (
            ONE_PICTURE,
            False,
            12_000,
            "fails if this lasts to its end, or earlier if the discriminator becomes",
        ),
        (NEARLY_ONE, True, 60_000, "goes back if this lasts beyond 16,000 images."),
        (NEARLY_ONE, True, 12_000, "is over before the guards act on this."),
        (NEARLY_ONE, False, 60_000, "beyond 16,000 images, or earlier if the discriminator becomes sure."),
        (
            NEARLY_ONE,
            False,
            12_000,
            "before the guards act on this, except if the discriminator becomes sure.",
        ),
        (NEARLY_ONE, False, 5_000, "is over before the guards act on this."),
        (NEARLY_ONE.model_copy(update=TAUGHT), False, 12_000, "goes back if this lasts beyond 6,400 images."),
    ],
)
def test_young_run_of_equal_samples_is_told_what_may_happen_before_it_is_grown(
    signs: Signs, critic: bool, total_images: int, outlook: str
) -> None:
    steps = NEWBORN_STEPS // 2 if signs is ONE_PICTURE else NEWBORN_STEPS
    decision = decide(Watch(), signs, course(steps, critic=critic, total_images=total_images))
    assert isinstance(decision, Continue)
    assert decision.suspicion
    assert f" {outlook}" in decision.suspicion.detail


def test_first_samples_that_had_been_varied_before_are_suspect() -> None:
    decision = decide(WATCH, NEARLY_ONE.model_copy(update={"distance": 14}), course(NEWBORN_STEPS // 2))
    assert isinstance(decision, Continue)
    assert decision.suspicion
    assert "for 2 more evaluations" in decision.suspicion.detail


def test_sure_discriminator_of_a_young_run_is_not_hidden_by_samples_as_usual() -> None:
    alike = SURE.model_copy(update={"diversity": 0.15, "repeated": 0.9})
    watch = Watch(best_images_seen=400, best_distance=13, best_diversity=0.14, best_repeated=0.9)
    decision = decide(watch, alike, course(NEWBORN_STEPS))
    assert isinstance(decision, Continue)
    assert decision.suspicion
    assert decision.suspicion.cause is Cause.DISCRIMINATOR_WINS
