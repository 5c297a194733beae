from collections.abc import Callable

import pytest
import torch

from contract.training import TrainingSpec
from models import networks
from models.cost import Cost, evaluation_interval, multiply_adds

MakeSpec = Callable[..., TrainingSpec]

TINY = {"latent_size": 8, "generator_width": 4, "discriminator_width": 4}


def test_cost_of_the_discriminator_matches_a_count_by_hand(make_spec: MakeSpec) -> None:
    """Kernels with 16 taps, widths 4, 8 and 16 at 16², 8² and 4² pixels, then one score."""
    by_hand = 16 * (3 * 4 * 16**2 + 4 * 8 * 8**2 + 8 * 16 * 4**2 + 16)
    assert Cost.of(make_spec()).discriminator == by_hand


def test_costs_of_dcgan_fc_match_a_count_by_hand(make_spec: MakeSpec) -> None:
    """Width 4, latents of 8. A linear layer takes one product per weight, others one per weight and pixel."""
    cost = Cost.of(make_spec(architecture=TINY | {"kind": "dcgan_fc"}))
    grow = 4 * (8 * 8 * 8**2 + 4 * 4 * 16**2)
    smooth = 9 * (8 * 4 * 16**2 + 4 * 3 * 32**2)
    assert cost.generator == 8 * 8 * 8**2 + grow + smooth
    assert cost.discriminator == 9 * (3 * 4 * 32**2 + 4 * 8 * 16**2 + 8 * 16 * 8**2 + 16 * 32 * 4**2) + 32 * 4


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
@pytest.mark.parametrize("kind", ["dcgan", "dcgan_fc", "resnet"])
def test_every_family_and_norm_can_be_counted(kind: str, norm: str, make_spec: MakeSpec) -> None:
    cost = Cost.of(make_spec(architecture=TINY | {"kind": kind, "discriminator_norm": norm}))
    assert cost.training > cost.generator + cost.discriminator > 0


def test_plain_step_costs_three_generator_and_eight_discriminator_passes(
    make_spec: MakeSpec,
) -> None:
    cost = Cost.of(make_spec())
    assert cost.training == 3 * cost.generator + 8 * cost.discriminator


def test_rarer_penalties_cost_less(make_spec: MakeSpec) -> None:
    always, rarely = (
        Cost.of(make_spec(objective={"kind": "r3", "penalty_every_steps": every})).training
        for every in (1, 16)
    )
    assert rarely < always


def test_penalty_on_weights_costs_no_passes(make_spec: MakeSpec) -> None:
    assert Cost.of(make_spec(terms=["weight_penalty"])) == Cost.of(make_spec())


def test_more_critic_steps_cost_less_per_image(make_spec: MakeSpec) -> None:
    one, five = (
        Cost.of(make_spec(objective={"kind": "wgan_gp", "critic_steps": steps})).training for steps in (1, 5)
    )
    assert five < one


@pytest.mark.parametrize("batch_size", [2, 64])
def test_interval_in_whole_batches_gives_evaluations_three_to_five_percent_of_the_operations(
    make_spec: MakeSpec, batch_size: int
) -> None:
    """If the operations are as counted: see `test_counted_operations.py`."""
    cost = Cost.of(make_spec())
    evaluation = 1000 * cost.generator
    images = evaluation_interval(cost, evaluation, batch_size)
    assert images % batch_size == 0
    share = evaluation / (evaluation + images * cost.training)
    assert 0.03 < share <= 0.05


def test_evaluation_interval_is_at_least_one_batch(make_spec: MakeSpec) -> None:
    assert evaluation_interval(Cost.of(make_spec()), 1, 64) == 64


def test_counting_leaves_a_network_as_it_is(make_spec: MakeSpec) -> None:
    spec = make_spec()
    network = networks.build(spec.architecture, spec.resolution, spec.channels).discriminator
    assert multiply_adds(network, torch.zeros(2, 3, 32, 32)) == Cost.of(spec).discriminator
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}
