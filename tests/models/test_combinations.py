"""Every architecture trains under every objective and prior, as a job would: ten steps with finite losses."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from contract.errors import ServiceError
from contract.training import TrainingSpec
from models.batches import Batches
from models.environment import NumericEnvironment
from models.networks import NETWORKS
from models.objectives import OBJECTIVES
from models.priors import PRIORS
from models.state import TrainingState
from models.terms import TERMS
from models.trainer import train

MakeSpec = Callable[..., TrainingSpec]
MakeBatches = Callable[[TrainingSpec], Batches]

SIZE = {"latent_size": 8, "generator_width": 4, "discriminator_width": 4}


def kinds(registry: Any) -> list[str]:
    return [parameters.model_fields["kind"].default for parameters in registry]


COMBINATIONS = tuple(itertools.product(*(kinds(registry) for registry in (NETWORKS, OBJECTIVES, PRIORS))))


def losses_of(spec: TrainingSpec, environment: NumericEnvironment, batches: Batches) -> dict[str, float]:
    """The losses of the last of ten steps; asserts that those of every step are finite."""
    losses: dict[str, float] = {}
    for progress in train(TrainingState.fresh(spec, environment), batches):
        losses = progress.read()
        assert torch.tensor(list(losses.values())).isfinite().all(), losses
    assert progress.images_seen == 20
    return losses


@pytest.mark.parametrize(("architecture", "objective", "prior"), COMBINATIONS)
def test_combination_trains_with_finite_losses(
    architecture: str,
    objective: str,
    prior: str,
    make_spec: MakeSpec,
    make_batches: MakeBatches,
    environment: NumericEnvironment,
) -> None:
    spec = make_spec(architecture={"kind": architecture, **SIZE}, objective=objective, prior=prior, images=20)
    assert "generator" in losses_of(spec, environment, make_batches(spec))


@pytest.mark.parametrize("term", kinds(TERMS))
def test_each_term_is_reported_separately(
    term: str, make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    spec = make_spec(terms=[term], images=20)
    steps = train(TrainingState.fresh(spec, environment), make_batches(spec))
    names = set(next(steps).read())
    assert any(name.partition("/")[2].startswith(term) for name in names), names


def test_critic_takes_five_steps_for_each_of_the_generator(
    make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    spec = make_spec(objective="wgan_gp", images=20)
    steps = train(TrainingState.fresh(spec, environment), make_batches(spec))
    taught = ["generator" in progress.losses for progress in steps]
    assert taught == [False, False, False, False, True] * 2


@pytest.mark.parametrize("steps", [2, 5])
def test_shortest_run_of_a_critic_ends_with_the_generators_first_step(
    steps: int, make_spec: MakeSpec, make_batches: MakeBatches, environment: NumericEnvironment
) -> None:
    critic = {"kind": "wgan_gp", "critic_steps": steps}
    fewest = 2 * (steps - 1) + 1
    with pytest.raises(ServiceError, match=f"set images to {fewest} or more"):
        make_spec(objective=critic, images=fewest - 1)
    spec = make_spec(objective=critic, images=fewest)
    run = train(TrainingState.fresh(spec, environment), make_batches(spec))
    assert ["generator" in progress.losses for progress in run] == [False] * (steps - 1) + [True]
