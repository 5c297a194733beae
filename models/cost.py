"""What a run costs, by counting: multiply-adds of its networks, and the images between two evaluations.

Counted on the meta device, from the spec alone: no clock, no machine and no weights decide, so that two runs
of one spec are evaluated at the same images.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch.utils.flop_counter import FlopCounterMode

from contract.training import TrainingSpec
from models import networks
from models.networks.pair import Network
from models.rules import Rules

FORWARD = 1
BACKWARD = 2
"""A backward pass makes two products for each of the forward pass: for the weights and for what came in."""
BACKWARD_TO_INPUT = 1
SECOND_ORDER = 2 * (FORWARD + BACKWARD)
"""A penalty on slopes: forward and backward passes, and both of them differentiated again."""

FLOAT32 = 2
"""What a product of the feature network costs, in float32, beside one of the networks in training."""
STATISTICS = 10**10
"""Neighbours, eigenvalues and moments take as long as so many multiply-adds, whatever the networks."""
EVALUATION_SHARE = 0.05
"""Of the whole time, that evaluations are to take."""


@dataclass(frozen=True)
class Cost:
    """Multiply-adds for one image."""

    generator: int
    """One forward pass."""
    discriminator: int
    """One forward pass."""
    training: int
    """One real image shown, the mean over the steps."""

    @classmethod
    def of(cls, spec: TrainingSpec) -> Self:
        pair = networks.build(spec.architecture, spec.resolution, spec.channels)
        latents = torch.empty(_PROBES, pair.generator.latent_size, device="meta")
        images = torch.empty(_PROBES, spec.channels, spec.resolution, spec.resolution, device="meta")
        generator = _forward(pair.generator, latents)
        discriminator = _forward(pair.discriminator, images)
        return cls(generator, discriminator, _training(spec, generator, discriminator))


_PROBES = 2  # batch norm wants more than one


def evaluation(cost: Cost, features: int, *, generated: int, compared: int, scored: int) -> int:
    """Multiply-adds of an evaluation that generates, compares in `features` and scores so many images."""
    seen = features * FLOAT32 * compared
    return cost.generator * generated + seen + cost.discriminator * scored + STATISTICS


def evaluation_interval(cost: Cost, evaluation: int, batch_size: int, share: float = EVALUATION_SHARE) -> int:
    """Images between two evaluations, whole batches, so that these take `share` of all multiply-adds.

    `evaluation` is what one of them costs, in multiply-adds.
    """
    images = evaluation * (1 - share) / (share * cost.training)
    return max(1, math.ceil(images / batch_size)) * batch_size


def _forward(network: Network, given: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.to("meta")(given)
    return int(counter.get_total_flops()) // 2 // _PROBES  # it counts a multiply-add as two


def _training(spec: TrainingSpec, generator: int, discriminator: int) -> int:
    rules = Rules.of(spec)
    on_slopes = (term for term in rules.discriminator_terms if term.differentiates_slopes)
    penalties = sum(SECOND_ORDER / term.every_steps for term in on_slopes)
    each_step = generator * FORWARD + discriminator * (2 * (FORWARD + BACKWARD) + penalties)
    judging = FORWARD * (2 if rules.shows_generator_reals else 1) + BACKWARD_TO_INPUT
    generators_step = generator * BACKWARD + discriminator * judging
    return round(each_step + generators_step / rules.objective.discriminator_steps)
