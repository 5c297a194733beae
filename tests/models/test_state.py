"""The settings in force at a step, and resetting a run to its initial state."""

import pytest
import torch

from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.state import TrainingState, decayed
from models.tally import Tally
from models.watch import Adjustments, Watch
from tests.models.conftest import MakeSpec

SMALL = {"latent_size": 8, "generator_width": 4, "discriminator_width": 4}


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
    state.set_learning_rates()
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


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"architecture": SMALL | {"kind": "dcgan", "discriminator_norm": "spectral"}, "objective": "r3"},
        {"architecture": SMALL | {"kind": "dcgan_fc"}, "objective": "hinge", "terms": ["mmd"]},
        {"architecture": SMALL | {"kind": "resnet"}, "objective": "wgan_gp"},
    ],
    ids=["dcgan", "spectral", "dcgan_fc", "resnet"],
)
def test_restarted_run_has_its_initial_state_keeps_its_count_and_drops_its_best(
    changes: dict[str, object], make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    state = TrainingState.fresh(make_spec(**changes), environment)
    state.images_seen = 4
    state.watch = Watch(best_images_seen=4, best_distance=10, best_diversity=0.9)
    with torch.no_grad():
        for _, tensor in state.tensors():
            tensor.fill_(7)
    state.begin_again()
    fresh = dict(TrainingState.fresh(state.spec, environment).tensors())
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in state.tensors())
    assert state.images_seen == 4
    assert state.watch == Watch(begun_images_seen=4, has_lived=True)


def test_restart_needs_no_room_for_a_second_state(
    spec: TrainingSpec, environment: NumericEnvironment
) -> None:
    with Tally("cpu") as tally:
        state = TrainingState.fresh(spec, environment)
        tally.peak = before = tally.now
        state.begin_again()
    largest = max(tensor.nbytes for _, tensor in state.tensors())
    assert tally.peak - before <= 2 * largest  # on a GPU nothing: weights are drawn on the host


def test_average_starts_as_a_copy_of_the_generator(state: TrainingState) -> None:
    averaged, begun = state.ema.state_dict(), state.generator.state_dict()
    assert averaged.keys() == begun.keys()
    assert all(torch.equal(averaged[name], begun[name]) for name in begun)


def test_single_infinite_number_is_detected(state: TrainingState) -> None:
    assert state.is_finite()
    with torch.no_grad():
        next(state.ema.parameters())[0] = torch.inf
    assert not state.is_finite()
