"""The settings in force at a step, and resetting a run to its initial state."""

import pytest
import torch

from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.state import TrainingState, decayed
from models.trainer import train
from models.watch import Adjustments, Watch
from tests.models.conftest import MakeBatches


@pytest.mark.parametrize(
    ("decay", "progress", "left"),
    [(0, 0.99, 1), (0.5, 0.25, 1), (0.5, 0.5, 1), (0.5, 0.75, 0.5), (1, 0.25, 0.75), (0.5, 1, 0)],
)
def test_learning_rate_falls_linearly_over_the_last_share_of_a_run(
    decay: float, progress: float, left: float
) -> None:
    assert decayed(decay, progress) == left


def test_learning_rates_are_those_of_the_spec_times_the_guards_factors(state: TrainingState) -> None:
    state.watch = Watch(adjustments=Adjustments(generator_rate=0.5, discriminator_rate=0.25))
    state.pace()
    rates = [
        state.generator_optimizer.param_groups[0]["lr"],
        state.discriminator_optimizer.param_groups[0]["lr"],
    ]
    assert rates == [state.spec.generator_learning_rate / 2, state.spec.discriminator_learning_rate / 4]


def test_guards_add_to_the_strength_of_the_augmentation(state: TrainingState) -> None:
    assert state.augmentation is None
    state.watch = Watch(adjustments=Adjustments(augmentation=0.25))
    assert state.augmentation is not None
    assert state.augmentation.strength == 0.25


def test_restarted_run_has_its_initial_weights_keeps_its_count_and_drops_its_best(
    spec: TrainingSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    state = TrainingState.fresh(spec, environment)
    steps = train(state, make_batches(spec))
    next(steps)
    state.watch = Watch(best_images_seen=spec.batch_size, best_distance=10, best_diversity=0.9)
    state.begin_again()
    fresh = dict(TrainingState.fresh(spec, environment).tensors())
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in state.tensors())
    assert state.images_seen == spec.batch_size
    assert state.watch == Watch(begun_images_seen=spec.batch_size, has_lived=True)


def test_average_starts_as_a_copy_of_the_generator(state: TrainingState) -> None:
    averaged, begun = state.ema.state_dict(), state.generator.state_dict()
    assert averaged.keys() == begun.keys()
    assert all(torch.equal(averaged[name], begun[name]) for name in begun)


def test_single_infinite_number_is_detected(state: TrainingState) -> None:
    assert state.is_finite()
    with torch.no_grad():
        next(state.ema.parameters())[0] = torch.inf
    assert not state.is_finite()
