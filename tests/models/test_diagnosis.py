"""The figures that the diagnosis of a run rests on."""

import math

import pytest

from contract.evaluation import AdversarialAccuracy, Distance, Evaluation, LatentPaths
from models.course import Course
from models.guards import Continue, decide
from models.signs import Signs
from models.watch import Adjustments, Watch
from tests.models.conftest import MakeSpec

WELL = Signs(is_finite=True, distance=10, real_accuracy=0.7, fake_accuracy=0.7, diversity=0.9, memorised=0.05)
EVALUATION = Evaluation(
    images_seen=500,
    samples=256,
    reals=16,
    split="held_out",
    features="means/1",
    frechet=Distance(name="fd", value=10, floor=1),
    kernel=Distance(name="kd", value=0, error=1, floor=0),
    precision=1,
    recall=1,
    density=1,
    coverage=1,
    diversity=0.9,
    memorised=0.05,
    adversarial_accuracy=AdversarialAccuracy(real=0.7, fake=0.7, threshold=0.5, calibrated=False),
    latent_paths=LatentPaths(paths=1, points=2, length=1, smoothness=1),
    losses={"discriminator": 1.5, "generator": -3},
)


@pytest.mark.parametrize(
    ("settings", "steps", "step_images", "may_be_sure"),
    [
        ({"batch_size": 64, "objective": {"kind": "non_saturating"}}, 500, 64, False),
        ({"batch_size": 64, "objective": {"kind": "wgan_gp"}}, 100, 320, True),
        ({"batch_size": 1024, "objective": {"kind": "hinge"}}, 31, 1024, False),
        ({"batch_size": 64, "generator_learning_rate": 1e-5}, 50, 640, False),
    ],
)
def test_age_is_counted_in_generator_steps(
    make_spec: MakeSpec, settings: dict[str, object], steps: int, step_images: float, may_be_sure: bool
) -> None:
    spec = make_spec(images=160_000, **settings)
    assert Course.of(spec, 32_000, Watch(), every_images=160_000) == Course(
        32_000,
        spec.total_images,
        steps,
        images_per_step=step_images,
        wants_sure_discriminator=may_be_sure,
    )


@pytest.mark.parametrize(("learning_rate", "adjusted"), [(1e-311, 1.0), (5e-324, 0.25)])
def test_rate_too_small_for_any_step_ends_no_run(
    make_spec: MakeSpec, learning_rate: float, adjusted: float
) -> None:
    spec = make_spec(images=160_000, batch_size=64, generator_learning_rate=learning_rate)
    watch = Watch(begun_generator_rate=adjusted)
    course = Course.of(spec, 32_000, watch, every_images=8_000)
    assert (course.generator_steps, course.images_per_step) == (0, math.inf)
    decision = decide(watch, WELL.model_copy(update={"diversity": 0.01}), course)
    assert isinstance(decision, Continue)
    assert decision.suspicion
    assert "is over before the guards act" in decision.suspicion.detail


def test_restart_at_a_lower_rate_grows_up_more_slowly(make_spec: MakeSpec) -> None:
    spec = make_spec(batch_size=64, generator_learning_rate=2e-4)
    quartered = Watch(adjustments=Adjustments(generator_rate=0.25)).begun_again(32_000)
    assert Course.of(spec, 64_000, quartered, every_images=32_000).generator_steps == 250
    assert Course.of(spec, 64_000, quartered, every_images=32_000).begun_images_seen == 32_000
    eighth = quartered.model_copy(update={"adjustments": Adjustments(generator_rate=0.125)})
    assert Course.of(spec, 64_000, eighth, every_images=32_000).generator_steps == 250  # it did begin faster


@pytest.mark.parametrize(
    ("every_images", "patience"),
    [(64_000, 2), (6_400, 2), (3_200, 2), (640, 10), (100, 64), (64, 100), (63, 100), (1, 100)],
)
def test_run_may_spend_a_tenth_of_its_evaluations_without_a_new_best(
    make_spec: MakeSpec, every_images: int, patience: int
) -> None:
    """At most one evaluation per batch, here of 64."""
    spec = make_spec(batch_size=64, images=64_000)
    assert Course.of(spec, 0, Watch(), every_images).stuck_after == patience


def test_guards_use_the_accuracy_at_one_half_whatever_threshold_is_reported() -> None:
    accuracy = AdversarialAccuracy(
        real=0, fake=1, threshold=0.9, real_at_half=0.98, fake_at_half=0.99, calibrated=False
    )
    signs = Signs.of(EVALUATION.model_copy(update={"adversarial_accuracy": accuracy}))
    assert (signs.real_accuracy, signs.fake_accuracy) == (0.98, 0.99)


def test_guards_use_the_reported_accuracy_of_an_old_record() -> None:
    stored = EVALUATION.model_dump()
    del stored["adversarial_accuracy"]["real_at_half"], stored["adversarial_accuracy"]["fake_at_half"]
    assert Signs.of(Evaluation.model_validate(stored)) == Signs.of(EVALUATION)


def test_large_loss_of_a_term_is_not_taken_for_diverged_weights() -> None:
    parts = {"discriminator/adversarial": 1.5, "discriminator/weight_penalty": 2000}
    penalised = EVALUATION.model_copy(update={"losses": {"discriminator": 2001.5, "generator": -3, **parts}})
    assert Signs.of(penalised) == Signs.of(EVALUATION) == WELL.model_copy(update={"largest_loss": 3})
    ran_away = {"generator": 5, "generator/adversarial": -2000, "generator/mmd_pixels": 2005}
    assert Signs.of(EVALUATION.model_copy(update={"losses": ran_away})).largest_loss == 2000
