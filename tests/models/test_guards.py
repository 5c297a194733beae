from dataclasses import replace

import pytest

from contract.evaluation import DEAD
from models.course import HOPELESS_STEPS, STUCK, YOUNG_STEPS, Course
from models.diagnosis import RUNAWAY, Cause
from models.guards import PATIENCE, Continue, GiveUp, RollBack, decide, regret
from models.signs import Signs
from models.watch import Adjustments, Watch
from tests.models.conftest import MakeSpec

WELL = Signs(is_finite=True, distance=10, real_accuracy=0.7, fake_accuracy=0.7, diversity=0.9, memorised=0.05)
WATCH = Watch(best_images_seen=1000, best_distance=10, best_diversity=0.9)
BEGINNING = Course(500, 60_000, generator_steps=YOUNG_STEPS - 1)
GROWN = Course(2000, 60_000, generator_steps=YOUNG_STEPS)
ILL: dict[Cause, dict[str, object]] = {
    Cause.NOT_FINITE: {"is_finite": False},
    Cause.MODE_COLLAPSE: {"diversity": 0.1, "distance": 100},
    Cause.DISCRIMINATOR_WINS: {"real_accuracy": 1.0, "fake_accuracy": 1.0, "distance": 100},
    Cause.OVERFITTING: {"memorised": 0.9},
}


def ill(cause: Cause) -> Signs:
    return WELL.model_copy(update=ILL[cause])


def test_first_evaluation_is_the_best_so_far() -> None:
    decision = decide(Watch(), WELL, BEGINNING)
    assert decision == Continue(
        Watch(best_images_seen=500, best_distance=10, best_diversity=0.9, has_lived=True), is_best=True
    )


def test_equal_distance_is_not_a_new_best() -> None:
    decision = decide(WATCH, WELL, GROWN)
    assert isinstance(decision, Continue)
    assert (decision.is_best, decision.watch.best_images_seen) == (False, WATCH.best_images_seen)


@pytest.mark.parametrize("cause", ILL)
def test_failing_run_is_rolled_back_and_adjusted(cause: Cause) -> None:
    decision = decide(WATCH, ill(cause), GROWN)
    assert isinstance(decision, RollBack)
    assert decision.cause is cause
    assert decision.goal_images_seen == WATCH.best_images_seen
    assert decision.watch.rollbacks_since_best == 1
    assert decision.watch.adjustments != Adjustments()


@pytest.mark.parametrize("cause", ILL)
def test_run_is_given_up_only_after_rollbacks_have_not_helped(cause: Cause) -> None:
    watch = WATCH
    for _ in range(PATIENCE):
        decision = decide(watch, ill(cause), GROWN)
        assert isinstance(decision, RollBack)
        watch = decision.watch
    assert isinstance(decide(watch, ill(cause), GROWN), GiveUp)


def test_new_best_resets_the_count_of_rollbacks() -> None:
    tried = WATCH.model_copy(update={"rollbacks_since_best": PATIENCE})
    decision = decide(tried, WELL.model_copy(update={"distance": 9}), GROWN)
    assert isinstance(decision, Continue)
    assert decision.watch.rollbacks_since_best == 0


@pytest.mark.parametrize("cause", [Cause.MODE_COLLAPSE, Cause.DISCRIMINATOR_WINS, Cause.OVERFITTING])
def test_young_run_without_a_best_is_left_alone(cause: Cause) -> None:
    assert isinstance(decide(Watch(), ill(cause), BEGINNING), Continue)


def test_uniform_grey_of_a_young_run_is_no_measure_for_its_first_attempts() -> None:
    grey = decide(Watch(), WELL.model_copy(update={"diversity": DEAD / 2, "distance": 100}), BEGINNING)
    assert isinstance(grey, Continue)
    attempts = WELL.model_copy(update={"diversity": 0.2, "distance": 300, "memorised": 0.9})
    assert isinstance(decide(grey.watch, attempts, BEGINNING), Continue)
    assert isinstance(decide(grey.watch, attempts.model_copy(update={"memorised": 0}), GROWN), Continue)


def test_run_whose_best_is_dead_restarts_and_is_young_again(make_spec: MakeSpec) -> None:
    grey = decide(Watch(), WELL.model_copy(update={"diversity": DEAD / 2}), BEGINNING)
    assert isinstance(grey, Continue)
    assert grey.is_best
    decision = decide(grey.watch, WELL.model_copy(update={"diversity": DEAD / 2}), GROWN)
    assert isinstance(decision, RollBack)
    assert decision.goal_images_seen is None
    assert decision.watch.adjustments != Adjustments()
    spec = make_spec(batch_size=64, objective={"kind": "non_saturating"})
    later = GROWN.images_seen + 64 * (YOUNG_STEPS - 1)
    begun = Watch(begun_images_seen=GROWN.images_seen)
    assert Course.of(spec, later, begun, every_images=1000).is_young
    assert not Course.of(spec, later, Watch(), every_images=1000).is_young


def test_lost_living_best_is_no_longer_a_measure() -> None:
    lost = WATCH.begun_again(GROWN.images_seen)
    grey = WELL.model_copy(update={"diversity": DEAD / 2, "distance": 100})
    decision = decide(lost, grey, BEGINNING)
    assert isinstance(decision, Continue)
    assert decision.is_best


def test_run_whose_living_best_is_lost_still_has_something_to_serve() -> None:
    decision = decide(WATCH.begun_again(2000), WELL.model_copy(update={"diversity": DEAD / 2}), BEGINNING)
    assert isinstance(decision, Continue)
    assert not decision.watch.has_living_best
    assert decision.watch.has_something_to_serve
    assert regret(decision.watch) is None


def test_restarted_run_remembers_the_distance_of_a_dead_best() -> None:
    dead = WATCH.model_copy(update={"best_diversity": DEAD / 2})
    assert dead.begun_again(2000) == dead.model_copy(update={"begun_images_seen": 2000})


def test_restarts_without_a_living_best_are_given_up_even_if_the_distance_falls() -> None:
    watch, distance = Watch(), 100.0
    for _ in range(PATIENCE):
        distance -= 1
        dead = WELL.model_copy(update={"diversity": DEAD / 2, "distance": distance})
        young = decide(watch, dead, BEGINNING)
        assert isinstance(young, Continue)
        assert young.is_best
        decision = decide(young.watch, dead, GROWN)
        assert isinstance(decision, RollBack)
        watch = decision.watch
    assert isinstance(decide(watch, dead, GROWN), GiveUp)


def test_living_best_beats_a_dead_one_at_any_distance() -> None:
    dead = decide(Watch(), WELL.model_copy(update={"diversity": DEAD / 2, "distance": 5}), BEGINNING)
    assert isinstance(dead, Continue)
    living = decide(dead.watch, WELL.model_copy(update={"distance": 300}), GROWN)
    assert isinstance(living, Continue)
    assert living.is_best
    later = decide(living.watch, WELL.model_copy(update={"diversity": DEAD / 2, "distance": 1}), BEGINNING)
    assert isinstance(later, Continue)
    assert (later.is_best, later.watch.best_distance) == (False, living.watch.best_distance)


def test_young_run_that_loses_its_variety_is_rolled_back() -> None:
    decision = decide(WATCH, ill(Cause.MODE_COLLAPSE), BEGINNING)
    assert isinstance(decision, RollBack)
    assert decision.cause is Cause.MODE_COLLAPSE


def stuck(watch: Watch = WATCH) -> Watch:
    return watch.model_copy(update={"evaluations_since_best": STUCK})


def test_young_run_that_stays_dead_after_a_living_best_is_rolled_back() -> None:
    dead = WELL.model_copy(update={"diversity": DEAD / 2, "distance": 14})
    for critic in (False, True):
        young = replace(BEGINNING, wants_sure_discriminator=critic)
        assert isinstance(decide(WATCH, dead, young), Continue)
        decision = decide(stuck(), dead, young)
        assert isinstance(decision, RollBack)
        assert decision.cause is Cause.MODE_COLLAPSE


def test_dead_generator_of_a_sure_discriminator_is_hopeless_long_before_it_is_grown() -> None:
    """So was a run with rates of 0.05, after 235 steps."""
    dead = WELL.model_copy(update={"diversity": DEAD / 2, "real_accuracy": 1.0, "fake_accuracy": 1.0})
    assert isinstance(decide(Watch(), dead, replace(BEGINNING, generator_steps=HOPELESS_STEPS - 1)), Continue)
    hopeless = replace(BEGINNING, generator_steps=HOPELESS_STEPS)
    assert isinstance(decide(Watch(), dead.model_copy(update={"real_accuracy": 0.5}), hopeless), Continue)
    critic = replace(BEGINNING, generator_steps=HOPELESS_STEPS, wants_sure_discriminator=True)
    assert isinstance(decide(Watch(), dead, critic), Continue)
    decision = decide(Watch(), dead, hopeless)
    assert isinstance(decision, RollBack)
    assert (decision.cause, decision.goal_images_seen) == (Cause.MODE_COLLAPSE, None)


def test_run_that_never_was_varied_has_collapsed_once_it_is_stuck() -> None:
    poor = WELL.model_copy(update={"diversity": 0.2, "distance": 100})
    watch = WATCH.model_copy(update={"best_diversity": 0.2, "best_distance": 100})
    assert isinstance(decide(watch, poor, GROWN), Continue)
    assert isinstance(decide(stuck(watch), poor, BEGINNING), Continue)
    assert isinstance(decide(stuck(watch), poor.model_copy(update={"distance": 99}), GROWN), Continue)
    decision = decide(stuck(watch), poor, GROWN)
    assert isinstance(decision, RollBack)
    assert decision.cause is Cause.MODE_COLLAPSE


def test_run_that_stays_far_behind_its_best_is_rolled_back_but_never_given_up() -> None:
    behind = WELL.model_copy(update={"distance": 16})
    assert isinstance(decide(WATCH, behind, GROWN), Continue)
    assert isinstance(decide(stuck(), WELL.model_copy(update={"distance": 14}), GROWN), Continue)
    watch = WATCH
    for _ in range(PATIENCE):
        decision = decide(stuck(watch), behind, GROWN)
        assert isinstance(decision, RollBack)
        assert decision.cause is Cause.DECLINE
        assert decision.goal_images_seen == WATCH.best_images_seen
        watch = decision.watch
    assert isinstance(decide(stuck(watch), behind, GROWN), Continue)


def test_critic_that_is_trained_to_its_optimum_may_be_sure() -> None:
    watch = WATCH.model_copy(update={"evaluations_since_best": STUCK})
    sure = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    course = replace(GROWN, wants_sure_discriminator=True)
    assert isinstance(decide(watch, sure, course), Continue)


def test_non_finite_numbers_are_detected_before_there_is_a_best() -> None:
    assert isinstance(decide(Watch(), ill(Cause.NOT_FINITE), BEGINNING), RollBack)


def test_sure_discriminator_is_the_cause_if_a_run_is_stuck() -> None:
    sure = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    watch = WATCH
    for _ in range(STUCK):
        decision = decide(watch, sure, GROWN)
        assert isinstance(decision, Continue)
        watch = decision.watch
    decision = decide(watch, sure, GROWN)
    assert isinstance(decision, RollBack)
    assert decision.cause is Cause.DISCRIMINATOR_WINS
    better = decide(watch, sure.model_copy(update={"distance": 9}), GROWN)
    assert isinstance(better, Continue)
    assert better.is_best


def test_run_with_many_evaluations_is_stuck_after_more_of_them() -> None:
    sure = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    patient = replace(GROWN, stuck_after=STUCK + 1)
    assert isinstance(decide(stuck(), sure, patient), Continue)
    longer = WATCH.model_copy(update={"evaluations_since_best": STUCK + 1})
    assert isinstance(decide(longer, sure, patient), RollBack)


def test_dead_generator_is_detected_even_if_it_was_never_better() -> None:
    dead = WELL.model_copy(update={"diversity": DEAD / 2})
    assert isinstance(decide(Watch(), dead, BEGINNING), Continue)
    decision = decide(Watch(), dead, GROWN)
    assert isinstance(decision, RollBack)
    assert decision.cause is Cause.MODE_COLLAPSE


def test_diverged_weights_are_detected_even_in_a_young_run() -> None:
    dead = WELL.model_copy(update={"diversity": DEAD / 2, "largest_loss": 2 * RUNAWAY})
    decision = decide(Watch(), dead, BEGINNING)
    assert isinstance(decision, RollBack)
    assert decision.cause is Cause.MODE_COLLAPSE
    varied = dead.model_copy(update={"diversity": 0.9})
    assert isinstance(decide(Watch(), varied, BEGINNING), Continue)
    critic = replace(BEGINNING, wants_sure_discriminator=True)
    assert isinstance(decide(Watch(), dead, critic), Continue)


def test_each_rollback_slows_training_down_more_than_the_one_before() -> None:
    paces, watch = [1.0], WATCH
    for _ in range(PATIENCE):
        decision = decide(watch, ill(Cause.NOT_FINITE), GROWN)
        assert isinstance(decision, RollBack)
        watch = decision.watch
        paces.append(watch.adjustments.generator_rate)
    assert paces == [1, 1 / 2, 1 / 8, 1 / 64]


def test_unjudged_run_rolls_back_to_its_newest_state() -> None:
    first = decide(Watch(), Signs(is_finite=True), BEGINNING)
    assert isinstance(first, Continue)
    second = decide(first.watch, Signs(is_finite=True), GROWN)
    assert isinstance(second, Continue)
    assert second.watch.best_images_seen == GROWN.images_seen


@pytest.mark.parametrize("harmless", [{"diversity": 0.1}, {"real_accuracy": 1.0, "fake_accuracy": 1.0}])
def test_bad_signs_without_a_worse_distance_are_no_cause(harmless: dict[str, float]) -> None:
    assert isinstance(decide(WATCH, WELL.model_copy(update=harmless), GROWN), Continue)


def test_detail_names_the_figures_and_the_limits() -> None:
    decision = decide(WATCH, ill(Cause.MODE_COLLAPSE), GROWN)
    assert isinstance(decision, RollBack)
    assert all(figure in decision.detail for figure in ("10%", "35%", "100", "best 10", "70%"))


def test_collapsed_samples_are_not_taken_for_copies() -> None:
    alike = WELL.model_copy(update={"diversity": 0.2, "memorised": 0.9})
    assert isinstance(decide(WATCH, alike, GROWN), Continue)


def test_overfitting_strengthens_augmentation_and_slows_the_discriminator() -> None:
    decision = decide(WATCH, ill(Cause.OVERFITTING), GROWN)
    assert isinstance(decision, RollBack)
    assert decision.watch.adjustments.augmentation > 0
    assert decision.watch.adjustments.discriminator_rate < 1


def test_augmentation_never_exceeds_full_strength() -> None:
    strong = WATCH.model_copy(update={"adjustments": Adjustments(augmentation=0.9)})
    decision = decide(strong, ill(Cause.OVERFITTING), GROWN)
    assert isinstance(decision, RollBack)
    assert decision.watch.adjustments.augmentation == 1.0


@pytest.mark.parametrize(
    ("diversity", "words"), [(0.05, "5% as varied"), (0.05, "nearly all"), (0.3, "30% as"), (0.3, "many")]
)
def test_run_whose_best_lacks_variety_ends_with_figures_and_advice(diversity: float, words: str) -> None:
    told = regret(WATCH.model_copy(update={"best_diversity": diversity}))
    assert told
    assert all(part in told for part in (words, "35%", "more images", "smaller learning rates"))
    assert regret(WATCH) is None
    assert regret(Watch(best_images_seen=1000)) is None  # nothing to judge by
