"""Evaluating a generator: signs of life throughout, and what the generator is compared with."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contract.evaluation import Distance, Evaluation
from contract.training import TrainingSpec
from models.cost import FLOAT32, STATISTICS
from models.datasets.split import FEWEST_REALS, FEWEST_SHOWN, split_sizes
from models.environment import NumericEnvironment
from models.evaluation import CHUNK, Judge
from models.metrics.neighbours import DENSITY_NEIGHBOURS
from models.panel import Panel
from models.pixels import to_numbers
from models.signs import Signs
from models.state import TrainingState
from models.workload import Workload


class Means:
    """Features that are the means of columns; counts the images seen since the last sign of life."""

    name, version, size = "means", "1", 32

    def __init__(self) -> None:
        self.since, self.most, self.seen = 0, 0, 0

    def of(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        self.since += len(images)
        self.most = max(self.most, self.since)
        return images.mean((1, 2))

    def show_life(self) -> None:
        self.since = 0


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def test_evaluation_shows_life_after_every_chunk_and_computes_its_reference_once(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment
) -> None:
    spec, features = make_spec(), Means()
    pixels = noise(400)
    panel = Panel.of(np.arange(200), np.arange(200, 400), spec.seed)
    assert panel is not None
    judge = Judge(spec, pixels, panel, features, features.show_life)
    state = TrainingState.fresh(spec, environment)
    first = judge.evaluate(state, {})
    assert features.most <= CHUNK
    before = features.seen
    assert judge.evaluate(state, {}) == first
    assert features.seen - before == before - len(pixels), "the reals and the neighbours are looked at once"


@pytest.mark.parametrize(("shown", "held_out"), [(FEWEST_SHOWN, FEWEST_REALS), (FEWEST_REALS, 0)])
def test_smallest_splits_can_be_evaluated(
    shown: int, held_out: int, make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment
) -> None:
    spec, images = make_spec(), shown + held_out
    assert split_sizes(images, held_out) == (shown, held_out)
    panel = Panel.of(np.arange(shown), np.arange(shown, images), spec.seed)
    assert panel is not None
    judge = Judge(spec, noise(images), panel, Means())
    assert judge.evaluate(TrainingState.fresh(spec, environment), {})
    assert FEWEST_SHOWN == DENSITY_NEIGHBOURS + 1


@pytest.mark.parametrize("mirror", [False, True])
def test_workload_counts_every_picture_that_the_reference_needs(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment, mirror: bool
) -> None:
    spec, features = make_spec(mirror=mirror), Means()
    panel = Panel.of(np.arange(40), np.arange(40, 60), spec.seed)
    assert panel is not None
    judge, state = Judge(spec, noise(60), panel, features), TrainingState.fresh(spec, environment)
    judge.evaluate(state, {})
    first = features.seen
    judge.evaluate(state, {})
    looked_at = first - (features.seen - first)
    assert Workload.of(spec, panel, 1).reference == looked_at * FLOAT32 + STATISTICS


@pytest.mark.parametrize("held_out", [0, 100])
@pytest.mark.parametrize("mirror", [False, True])
def test_copies_are_detected_with_and_without_held_out_pictures(
    make_spec: Callable[..., TrainingSpec],
    environment: NumericEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    held_out: int,
    mirror: bool,
) -> None:
    spec, pixels = make_spec(mirror=mirror), noise(200)
    panel = Panel.of(np.arange(200 - held_out), np.arange(200 - held_out, 200), spec.seed)
    assert panel is not None
    judge, state = Judge(spec, pixels, panel, Means()), TrainingState.fresh(spec, environment)

    def memorised(samples: NDArray[np.uint8]) -> float:
        def rendered(_judge: object, _state: object, _generator: object, latents: Tensor) -> Tensor:
            return torch.from_numpy(np.resize(samples, (len(latents), *samples.shape[1:])))

        monkeypatch.setattr(Judge, "_rendered", rendered)
        found = judge.evaluate(state, {})
        assert found is not None
        assert found.memorised is not None
        return found.memorised

    assert memorised(pixels[:100]) == 1
    mirrored = memorised(np.ascontiguousarray(pixels[:100, ..., ::-1]))
    assert mirrored == 1 if mirror else mirrored < 0.2


def frechet(
    spec: TrainingSpec,
    environment: NumericEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    pixels: NDArray[np.uint8],
    panel: Panel | None,
    samples: NDArray[np.uint8],
) -> Distance:
    """The Fréchet distance reported for a generator that makes these samples."""
    assert panel is not None

    def rendered(_judge: object, _state: object, _generator: object, latents: Tensor) -> Tensor:
        return torch.from_numpy(np.resize(samples, (len(latents), *samples.shape[1:])))

    monkeypatch.setattr(Judge, "_rendered", rendered)
    found = Judge(spec, pixels, panel, Means()).evaluate(TrainingState.fresh(spec, environment), {})
    assert found is not None
    return found.frechet


def test_half_mirrored_samples_are_near_the_reals_if_the_run_mirrors(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = noise(512)
    pixels[..., :16] //= 2  # darken the left half
    taught = pixels[:256].copy()
    taught[::2] = taught[::2, ..., ::-1]
    panel = Panel.of(np.arange(256), np.arange(256, 512), seed=0)
    told = {
        mirror: frechet(make_spec(mirror=mirror), environment, monkeypatch, pixels, panel, taught)
        for mirror in (False, True)
    }
    assert told[True].value < 0.05 * told[False].value


@pytest.mark.parametrize("held_out", [0, 64])
def test_adjacent_duplicates_do_not_lower_the_floor(
    make_spec: Callable[..., TrainingSpec],
    environment: NumericEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    held_out: int,
) -> None:
    pixels = noise(128).repeat(2, axis=0)
    training, kept = np.arange(256 - held_out), np.arange(256 - held_out, 256)
    distance = frechet(
        make_spec(), environment, monkeypatch, pixels, Panel.of(training, kept, 0), pixels[:64]
    )
    assert distance.floor > 1e-3


def shown(
    spec: TrainingSpec, environment: NumericEnvironment, pixels: NDArray[np.uint8], panel: Panel
) -> list[Tensor]:
    """The batches that the discriminator scores in an evaluation: first reals, then samples."""
    state, batches = TrainingState.fresh(spec, environment), list[Tensor]()

    def see(_network: nn.Module, given: tuple[Tensor]) -> None:
        batches.append(given[0])

    state.discriminator.register_forward_pre_hook(see)  # copies have the hook too
    Judge(spec, pixels, panel, Means()).evaluate(state, {})
    return batches


@pytest.mark.parametrize("strength", [None, 1.0])
def test_discriminator_scores_augmented_pictures_only_if_it_was_trained_on_them(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment, strength: float | None
) -> None:
    spec = make_spec(augmentation=None if strength is None else {"strength": strength}, batch_size=50)
    panel = Panel.of(np.arange(50), np.arange(50, 100), spec.seed)
    assert panel is not None
    pixels = noise(100)
    first, *_ = shown(spec, environment, pixels, panel)
    plain = to_numbers(torch.from_numpy(pixels[panel.reals]))
    assert first.shape == plain.shape
    assert torch.equal(first, plain) == (strength is None)


@pytest.mark.parametrize("devices", [1, 2])
def test_discriminator_scores_batches_of_the_size_that_each_device_trains_on(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment, devices: int
) -> None:
    spec = make_spec(batch_size=32, devices=devices)
    panel = Panel.of(np.arange(64), np.arange(64, 128), spec.seed)
    assert panel is not None
    assert {len(batch) for batch in shown(spec, environment, noise(128), panel)} == {32 // devices}


def test_threshold_changes_the_reported_accuracy_but_not_the_guards_signs(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment
) -> None:
    panel = Panel.of(np.arange(64), np.arange(64, 128), seed=0)
    assert panel is not None

    def judged(threshold: float) -> Evaluation:
        spec = make_spec(evaluation={"accuracy_threshold": threshold}, batch_size=32)
        judge, state = Judge(spec, noise(128), panel, Means()), TrainingState.fresh(spec, environment)
        found = judge.evaluate(state, {})
        assert found is not None
        return found

    even, strict = judged(0.5), judged(0.9)
    told = even.adversarial_accuracy
    assert (told.real_at_half, told.fake_at_half) == (told.real, told.fake)
    assert (told.judged_reals, told.judged_samples) == (even.reals, even.samples)
    assert told.real > strict.adversarial_accuracy.real
    assert Signs.of(strict) == Signs.of(even)


def test_scores_that_are_not_finite_are_no_evaluation(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment
) -> None:
    spec, pixels = make_spec(objective={"kind": "wgan_gp"}), noise(60)  # so no norm of the discriminator's
    panel = Panel.of(np.arange(40), np.arange(40, 60), spec.seed)
    assert panel is not None
    judge, state = Judge(spec, pixels, panel, Means()), TrainingState.fresh(spec, environment)
    assert judge.evaluate(state, {}) is not None
    with torch.no_grad():
        for parameter in state.discriminator.parameters():
            parameter.mul_(1e18)
    assert state.is_finite()
    assert judge.evaluate(state, {}) is None
