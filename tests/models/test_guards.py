import pytest

from models.guards import (
    DEAD,
    PATIENCE,
    STUCK,
    YOUNG_IMAGES,
    Adjustments,
    Cause,
    Continue,
    GiveUp,
    RollBack,
    Signs,
    Watch,
    judge,
)

WELL = Signs(is_finite=True, distance=10, real_accuracy=0.7, fake_accuracy=0.7, diversity=0.9, memorised=0.05)
WATCH = Watch(best_images_seen=1000, best_distance=10)
ILL: dict[Cause, dict[str, object]] = {
    Cause.NOT_FINITE: {"is_finite": False},
    Cause.MODE_COLLAPSE: {"diversity": 0.1, "distance": 100},
    Cause.DISCRIMINATOR_WINS: {"real_accuracy": 1.0, "fake_accuracy": 1.0, "distance": 100},
    Cause.OVERFITTING: {"memorised": 0.9},
}


def ill(cause: Cause) -> Signs:
    return WELL.model_copy(update=ILL[cause])


def test_first_evaluation_is_the_best_so_far() -> None:
    verdict = judge(Watch(), WELL, 500)
    assert verdict == Continue(Watch(best_images_seen=500, best_distance=10), is_best=True)


def test_equal_distance_is_no_new_best() -> None:
    verdict = judge(WATCH, WELL, 2000)
    assert isinstance(verdict, Continue)
    assert (verdict.is_best, verdict.watch.best_images_seen) == (False, WATCH.best_images_seen)


@pytest.mark.parametrize("cause", Cause)
def test_ill_run_is_rolled_back_and_changed(cause: Cause) -> None:
    verdict = judge(WATCH, ill(cause), 2000)
    assert isinstance(verdict, RollBack)
    assert verdict.cause is cause
    assert verdict.watch.rollbacks_since_best == 1
    assert verdict.watch.adjustments != Adjustments()


@pytest.mark.parametrize("cause", Cause)
def test_run_is_given_up_only_after_going_back_has_not_helped(cause: Cause) -> None:
    watch = WATCH
    for _ in range(PATIENCE):
        verdict = judge(watch, ill(cause), 2000)
        assert isinstance(verdict, RollBack)
        watch = verdict.watch
    assert isinstance(judge(watch, ill(cause), 2000), GiveUp)


def test_new_best_renews_the_patience() -> None:
    tried = WATCH.model_copy(update={"rollbacks_since_best": PATIENCE})
    verdict = judge(tried, WELL.model_copy(update={"distance": 9}), 2000)
    assert isinstance(verdict, Continue)
    assert verdict.watch.rollbacks_since_best == 0


@pytest.mark.parametrize("cause", [Cause.MODE_COLLAPSE, Cause.DISCRIMINATOR_WINS, Cause.OVERFITTING])
def test_young_run_that_has_no_best_yet_is_left_alone(cause: Cause) -> None:
    assert isinstance(judge(Watch(), ill(cause), 100), Continue)


def test_numbers_that_are_none_are_noticed_before_there_is_a_best() -> None:
    assert isinstance(judge(Watch(), ill(Cause.NOT_FINITE), 100), RollBack)


def test_sure_discriminator_is_blamed_for_standing_still() -> None:
    sure = WELL.model_copy(update={"real_accuracy": 1.0, "fake_accuracy": 1.0})
    watch = WATCH
    for _ in range(STUCK):
        verdict = judge(watch, sure, 2000)
        assert isinstance(verdict, Continue)
        watch = verdict.watch
    verdict = judge(watch, sure, 2000)
    assert isinstance(verdict, RollBack)
    assert verdict.cause is Cause.DISCRIMINATOR_WINS


def test_dead_generator_is_noticed_though_it_was_never_better() -> None:
    dead = WELL.model_copy(update={"diversity": DEAD / 2})
    assert isinstance(judge(Watch(), dead, YOUNG_IMAGES - 1), Continue)
    verdict = judge(Watch(), dead, YOUNG_IMAGES)
    assert isinstance(verdict, RollBack)
    assert verdict.cause is Cause.MODE_COLLAPSE


def test_each_rollback_slows_down_more_than_the_one_before() -> None:
    paces, watch = [1.0], WATCH
    for _ in range(PATIENCE):
        verdict = judge(watch, ill(Cause.NOT_FINITE), 2000)
        assert isinstance(verdict, RollBack)
        watch = verdict.watch
        paces.append(watch.adjustments.generator_rate)
    assert paces == [1, 1 / 2, 1 / 8, 1 / 64]


def test_unjudged_run_goes_back_to_its_newest() -> None:
    first = judge(Watch(), Signs(is_finite=True), 100)
    assert isinstance(first, Continue)
    second = judge(first.watch, Signs(is_finite=True), 200)
    assert isinstance(second, Continue)
    assert second.watch.best_images_seen == 200


@pytest.mark.parametrize("harmless", [{"diversity": 0.1}, {"real_accuracy": 1.0, "fake_accuracy": 1.0}])
def test_signs_without_worse_pictures_are_no_cause(harmless: dict[str, float]) -> None:
    assert isinstance(judge(WATCH, WELL.model_copy(update=harmless), 2000), Continue)


def test_detail_tells_the_figures_and_the_limits() -> None:
    verdict = judge(WATCH, ill(Cause.MODE_COLLAPSE), 2000)
    assert isinstance(verdict, RollBack)
    assert all(figure in verdict.detail for figure in ("10%", "35%", "100", "best 10"))


def test_augmentation_never_passes_full_strength() -> None:
    strong = WATCH.model_copy(update={"adjustments": Adjustments(augmentation=0.9)})
    verdict = judge(strong, ill(Cause.OVERFITTING), 2000)
    assert isinstance(verdict, RollBack)
    assert verdict.watch.adjustments.augmentation == 1.0
