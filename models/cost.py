"""The cost of a run in multiply-adds of its networks, and the number of images between two evaluations.

Counted on the meta device from the spec alone, independently of clock, machine and weights, so that two runs
of one spec are evaluated after the same images.
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
"""A backward pass takes two products for each in the forward pass: for the weights and for the inputs."""
BACKWARD_TO_INPUT = 1
SECOND_ORDER = 2 * (FORWARD + BACKWARD)
"""A penalty on gradients: a forward and a backward pass, both differentiated again."""

FLOAT32 = 2
"""The cost of a multiply-add of the feature network, in float32, relative to one of the trained networks."""
STATISTICS = 10**10
"""Neighbours, eigenvalues and moments take as long as this many multiply-adds, whatever the networks."""
EVALUATION_SHARE = 0.05
"""The target share of evaluations in the whole run."""


@dataclass(frozen=True)
class Cost:
    """Multiply-adds for one image."""

    generator: int
    """One forward pass."""
    discriminator: int
    """One forward pass."""
    training: int
    """Training on one real image, averaged over the steps."""

    @classmethod
    def of(cls, spec: TrainingSpec) -> Self:
        pair = networks.sketch(spec.architecture, spec.resolution, spec.channels)
        latents = torch.empty(_PROBES, pair.generator.latent_size, device="meta")
        images = torch.empty(_PROBES, spec.channels, spec.resolution, spec.resolution, device="meta")
        generator = multiply_adds(pair.generator, latents)
        discriminator = multiply_adds(pair.discriminator, images)
        return cls(generator, discriminator, _training(spec, generator, discriminator))


_PROBES = 2  # batch norm needs more than one


def evaluation(cost: Cost, features: int, *, generated: int, compared: int, scored: int) -> int:
    """Multiply-adds of an evaluation, given the numbers of images it generates, compares and scores.

    `features` is the number of multiply-adds of the feature network per image.
    """
    seen = features * FLOAT32 * compared
    return cost.generator * generated + seen + cost.discriminator * scored + STATISTICS


def evaluation_interval(cost: Cost, evaluation: int, batch_size: int, share: float = EVALUATION_SHARE) -> int:
    """Images between two evaluations, in whole batches, so that these take `share` of all multiply-adds.

    `evaluation` is the number of multiply-adds of one evaluation.
    """
    images = evaluation * (1 - share) / (share * cost.training)
    return max(1, math.ceil(images / batch_size)) * batch_size


def multiply_adds(network: Network, given: torch.Tensor) -> int:
    """Those of a forward pass for one of the latents (N, Z) or images (N, C, R, R)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(given)
    return int(counter.get_total_flops()) // 2 // len(given)  # it counts a multiply-add as two


def _training(spec: TrainingSpec, generator: int, discriminator: int) -> int:
    rules = Rules.of(spec)
    on_gradients = (term for term in rules.discriminator_terms if term.differentiates_gradients)
    penalties = sum(SECOND_ORDER / term.every_steps for term in on_gradients)
    each_step = generator * FORWARD + discriminator * (2 * (FORWARD + BACKWARD) + penalties)
    judging = FORWARD * (2 if rules.shows_generator_reals else 1) + BACKWARD_TO_INPUT
    generators_step = generator * BACKWARD + discriminator * judging
    return round(each_step + generators_step / rules.discriminator_steps)
