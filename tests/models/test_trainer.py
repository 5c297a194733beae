from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor

from contract.training import TrainingSpec
from models.batches import Batches
from models.environment import NumericEnvironment, detect
from models.networks.norm import SpectralNorm
from models.ranks import Alone
from models.state import TrainingState
from models.trainer import train
from tests.conftest import proof

MakeSpec = Callable[..., TrainingSpec]
MakeBatches = Callable[[TrainingSpec], Batches]


def test_images_are_rounded_up_to_whole_batches(
    make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    state = TrainingState.fresh(make_spec(images=5), environment)
    assert [progress.images_seen for progress in train(state, make_batches(state.spec))] == [2, 4, 6]


def test_finished_state_is_left_alone(state: TrainingState, make_batches: MakeBatches) -> None:
    state.images_seen = state.spec.images
    assert list(train(state, make_batches(state.spec))) == []


def test_losses_are_read_as_numbers(state: TrainingState, make_batches: MakeBatches) -> None:
    losses = next(train(state, make_batches(state.spec))).read()
    assert set(losses) == {"discriminator", "generator"}
    assert all(np.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("losses", [{"terms": [{"kind": "r1", "every_steps": 3}, "r2"]}, {"objective": "r3"}])
def test_parts_of_a_loss_add_up_to_the_whole_in_every_step(
    losses: dict[str, object],
    make_spec: MakeSpec,
    make_batches: MakeBatches,
    environment: NumericEnvironment,
) -> None:
    """Also if no term is due, so that the latest adversarial part is never older than the whole."""
    state = TrainingState.fresh(make_spec(**losses), environment)
    for progress in train(state, make_batches(state.spec)):
        told = progress.read()
        parts = [loss for name, loss in told.items() if name.startswith("discriminator/")]
        assert sum(parts) == pytest.approx(told["discriminator"], rel=1e-5)
        assert state.read_losses()["discriminator/adversarial"] == told["discriminator/adversarial"]


def test_both_networks_learn_in_a_step(state: TrainingState, make_batches: MakeBatches) -> None:
    before = {name: tensor.clone() for name, tensor in state.tensors()}
    next(train(state, make_batches(state.spec)))
    after = dict(state.tensors())
    for network in ("generator", "discriminator"):
        for name, parameter in getattr(state, network).named_parameters():
            assert not torch.equal(before[f"{network}.{name}"], after[f"{network}.{name}"]), name
            assert parameter.grad is None


@pytest.mark.parametrize("kind", ["dcgan", "dcgan_fc", "resnet"])
def test_reals_and_fakes_share_the_power_iteration_of_a_step(
    kind: str,
    make_spec: MakeSpec,
    make_batches: MakeBatches,
    environment: NumericEnvironment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    architecture = {"kind": kind, "latent_size": 8, "generator_width": 64, "discriminator_width": 64}
    spec = make_spec(architecture=architecture | {"discriminator_norm": "spectral"}, batch_size=16)
    state = TrainingState.fresh(spec, environment)
    norms = [module for module in state.discriminator.modules() if isinstance(module, SpectralNorm)]
    advances: Counter[SpectralNorm] = Counter()
    forward = SpectralNorm.forward

    def counted(norm: SpectralNorm, weight: Tensor) -> Tensor:
        advances[norm] += weight.requires_grad
        return forward(norm, weight)

    monkeypatch.setattr(SpectralNorm, "forward", counted)
    next(train(state, make_batches(spec)))
    assert norms
    assert advances == Counter(norms)


def test_average_follows_the_generator(
    make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    state = TrainingState.fresh(make_spec(ema_halflife_images=0), environment)
    next(train(state, make_batches(state.spec)))
    pairs = zip(state.ema.parameters(), state.generator.parameters(), strict=True)
    assert all(torch.equal(average, parameter) for average, parameter in pairs)


def test_average_of_a_restarted_run_does_not_retain_the_initial_weights(
    make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    state = TrainingState.fresh(make_spec(images=10**6, ema_halflife_images=10**5), environment)
    state.images_seen = 10**6 - 2
    state.begin_again()
    next(train(state, make_batches(state.spec)))
    pairs = zip(state.ema.parameters(), state.generator.parameters(), strict=True)
    assert all(torch.allclose(average, parameter, rtol=1e-4, atol=1e-8) for average, parameter in pairs)


class Counting(Alone):
    """Counts the numbers that are averaged at each player's step."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def average(self, tensors: Iterable[Tensor]) -> None:
        self.sizes.append(sum(tensor.numel() for tensor in tensors))


class Vanishing(Alone):
    """Averages to zero, as if the ranks' gradients cancelled out."""

    def average(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            tensor.zero_()


def test_gradients_losses_and_statistics_are_averaged_once_for_each_player(
    state: TrainingState, make_batches: MakeBatches
) -> None:
    counting = Counting()
    next(train(state, make_batches(state.spec), counting))
    statistics = sum(statistic.numel() for statistic in state.statistics())
    discriminator, generator = (
        sum(parameter.numel() for parameter in network.parameters())
        for network in (state.discriminator, state.generator)
    )
    assert counting.sizes == [discriminator + 1, generator + 1 + statistics]


def test_loss_without_a_due_term_is_averaged_once(
    make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    """One number more would change the order in which three ranks add up gradients, and so their bits."""
    state = TrainingState.fresh(make_spec(terms=["r1"]), environment)
    counting = Counting()
    steps = train(state, make_batches(state.spec), counting)
    next(steps), next(steps)
    parameters = sum(parameter.numel() for parameter in state.discriminator.parameters())
    with_penalty, without_penalty = counting.sizes[0::2]
    assert (with_penalty, without_penalty) == (parameters + 3, parameters + 1)


def test_vanishing_gradients_leave_the_weights_unchanged(
    state: TrainingState, make_batches: MakeBatches
) -> None:
    before = [parameter.clone() for parameter in state.generator.parameters()]
    next(train(state, make_batches(state.spec), Vanishing()))
    assert all(
        torch.equal(was, parameter)
        for was, parameter in zip(before, state.generator.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("precision", "channels"),
    [("float32", 1), ("bfloat16", 3), ("float32", 3), ("bfloat16", 1)][: proof(2, 4)],
)
def test_generator_learns_the_brightness_of_the_pictures(
    make_spec: MakeSpec, precision: str, channels: int
) -> None:
    rates = {"generator_learning_rate": 2e-3, "discriminator_learning_rate": 2e-4}
    spec = make_spec(images=800, batch_size=8, **rates)
    spec = spec.model_copy(update={"channels": channels, "precision": precision})
    state = TrainingState.fresh(spec, detect("cpu", 1, spec.precision))
    grey = np.full((4, channels, 32, 32), 191, dtype=np.uint8)
    batches = Batches(grey, np.arange(4), batch_size=8, seed=0, device="cpu", mirror=False)
    fresh = state.generator(torch.ones(2, 8)).mean().item()
    for _ in train(state, batches):
        pass
    with torch.no_grad():
        learnt = state.generator(torch.randn(16, 8, generator=torch.Generator().manual_seed(0))).mean().item()
    assert fresh + 0.1 < learnt < 1


def test_moments_match_those_that_adam_would_allocate(
    state: TrainingState, make_batches: MakeBatches
) -> None:
    """Same names, dtypes and strides: what the fused kernel expects of our eagerly allocated moments."""
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        parameters = optimizer.param_groups[0]["params"]
        reference = torch.optim.Adam(parameters, fused=True)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        reference.step()
        for parameter in parameters:
            ours, theirs = optimizer.state[parameter], reference.state[parameter]
            assert list(ours) == list(theirs)
            for name, moment in theirs.items():
                assert (ours[name].dtype, ours[name].stride()) == (moment.dtype, moment.stride())
