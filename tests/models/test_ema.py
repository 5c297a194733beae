import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from contract.training import TrainingSpec
from models import ema
from models.ema import served_generator
from models.environment import NumericEnvironment
from models.networks import NETWORKS
from models.state import TrainingState

MakeSpec = Callable[..., TrainingSpec]
KINDS = sorted(family.model_fields["kind"].default for family in NETWORKS)


def constant(value: float) -> nn.Linear:
    layer = nn.Linear(3, 2)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, value)
    return layer


@pytest.mark.parametrize(("halflife", "batch_size"), [(1000, 10), (64, 64), (100, 25)])
def test_average_is_the_midpoint_after_one_halflife(halflife: int, batch_size: int) -> None:
    average, target = constant(0.0), constant(1.0)
    for _ in range(halflife // batch_size):
        ema.update(average, target, decay=ema.decay_per_batch(halflife, batch_size))
    assert average.weight.flatten().tolist() == pytest.approx([0.5] * 6, rel=1e-5)


def test_average_with_zero_halflife_is_the_raw_network() -> None:
    average, target = constant(0.0), constant(1.0)
    ema.update(average, target, decay=ema.decay_per_batch(0, 64))
    assert torch.equal(average.weight, target.weight)


def test_halflife_is_at_most_a_share_of_the_images_seen() -> None:
    assert ema.ramped_halflife(2_000, 0) == 0
    assert ema.ramped_halflife(2_000, 10_000) == 500
    assert ema.ramped_halflife(2_000, 10**9) == 2_000


def test_served_generator_has_the_batch_norm_statistics_of_its_own_weights(state: TrainingState) -> None:
    served = served_generator(state)
    latents = torch.randn(4096, 8, generator=torch.Generator().manual_seed(0))
    layers = served.get_submodule("layers")
    assert isinstance(layers, nn.Sequential)
    with torch.no_grad():
        features = layers[:4](latents[:, :, None, None])  # up to the second convolution
    statistics, deviation = layers[4].state_dict(), features.std((0, 2, 3))
    assert ((statistics["running_mean"] - features.mean((0, 2, 3))).abs() < 0.1 * deviation).all()
    assert torch.allclose(statistics["running_var"].sqrt(), deviation, rtol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_served_in_eval_mode(
    kind: str, make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    architecture = {"kind": kind, "latent_size": 8, "generator_width": 4, "discriminator_width": 4}
    served = served_generator(TrainingState.fresh(make_spec(architecture=architecture), environment))
    latents = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    assert not served.training
    assert torch.allclose(served(latents)[:1], served(latents[:1]), atol=1e-6)


def test_serving_does_not_change_the_state(state: TrainingState) -> None:
    before = {name: tensor.clone() for name, tensor in state.tensors()}
    served_generator(state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.tensors())
    assert state.ema.training


def test_served_generator_depends_only_on_the_weights(state: TrainingState) -> None:
    other = copy.deepcopy(state)
    other.images_seen = 640
    twin = served_generator(other).state_dict()
    for name, tensor in served_generator(state).state_dict().items():
        assert torch.equal(tensor, twin[name])
