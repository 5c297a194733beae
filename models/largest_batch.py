"""The largest batch in which a generator is rendered, so that no generator exhausts a sampler."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from contract.architectures import Architecture
from contract.training import TrainingSpec
from models import networks
from models.cost import multiply_adds
from models.networks.pair import Generator
from models.tally import Tally

MOST_BYTES = 640 * 2**20
"""Intermediate results of one forward pass, in float32."""
MOST_MULTIPLY_ADDS = 10**11
"""Of one forward pass: some three seconds of one slow core. Loading takes up to eight times as long."""


def largest_batch(spec: TrainingSpec, most: int) -> int:
    """Halve `most`, a power of two, until one forward pass keeps within both limits; at least 1.

    A function of the spec alone, because an image may depend on the largest batch in which it is rendered.
    """
    cost = _cost(spec.architecture, spec.resolution, spec.channels, most)
    batch = most
    while batch > 1 and (
        batch * cost.bytes_each > MOST_BYTES or batch * cost.multiply_adds_each > MOST_MULTIPLY_ADDS
    ):
        batch //= 2
    return batch


def pass_bytes(spec: TrainingSpec, batch: int, most: int) -> float:
    """The memory that one forward pass of at most `most` images takes at its peak, in float32."""
    cost = _cost(spec.architecture, spec.resolution, spec.channels, most)
    return cost.fixed_bytes + batch * cost.bytes_each


@dataclass(frozen=True)
class _Cost:
    """What a forward pass takes, and each image in it."""

    fixed_bytes: float
    """Also of kernels that some layers compute from their weights."""
    bytes_each: float
    multiply_adds_each: int


@lru_cache(maxsize=64)
def _cost(architecture: Architecture, resolution: int, channels: int, most: int) -> _Cost:
    generator = networks.sketch(architecture, resolution, channels).generator.eval()
    alone = _peak_bytes(generator, 1)
    bytes_each = (_peak_bytes(generator, most) - alone) / max(1, most - 1)
    return _Cost(alone - bytes_each, bytes_each, multiply_adds(generator, _latents(generator, 1)))


def _peak_bytes(generator: Generator, batch: int) -> int:
    with Tally("meta") as tally, torch.no_grad():
        generator(_latents(generator, batch))
    peak: int = tally.peak
    return peak


def _latents(generator: Generator, batch: int) -> torch.Tensor:
    """Latents (N, Z) without values."""
    return torch.empty(batch, generator.latent_size, device="meta")
