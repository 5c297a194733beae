"""A loaded generator that renders seeds. The pixels of a seed never depend on what else is in the batch.

Kernels are chosen by batch size, and some sum in another order than others. So batches are padded to a few
sizes, the buckets, and a sampler uses only those that it has seen agree, bit for bit, before rounding.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contract.checkpoint import CheckpointHeader
from models import priors
from models.checkpoint import load_checkpoint
from models.environment import NumericEnvironment
from models.inference import for_inference
from models.latents import latents
from models.networks.pair import Generator
from models.pixels import to_pixels

BUCKETS = (1, 2, 4, 8, 16, 32, 64)
RENDERING_VERSION = 1
"""Raised whenever we change what a generator and a seed come to: folding, rounding, choice of kernels."""


def renderer(environment: NumericEnvironment) -> str:
    """Names all that a sample's bytes depend on besides generator, seed and options. Part of every ETag."""
    return f"r{RENDERING_VERSION}/{environment.fingerprint}"


class Sampler:
    """One generator in memory, ready to render. Its environment must have been applied to the process."""

    def __init__(
        self, generator: Generator, header: CheckpointHeader, environment: NumericEnvironment
    ) -> None:
        self.header = header
        self._device = environment.device
        self._prior = priors.build(header.spec.prior)
        self._generator = for_inference(generator, environment)
        self.buckets = self._agreeing_buckets()

    @classmethod
    def load(cls, path: Path, digest: str, environment: NumericEnvironment) -> Self:
        """Read a checkpoint, making sure that it is the one that `digest` names.

        Raises:
            ServiceError: `checkpoint_unreadable`.
        """
        generator, header = load_checkpoint(path, digest)
        return cls(generator, header, environment)

    @property
    def bytes(self) -> int:
        """Memory that its weights take."""
        return sum(tensor.nbytes for tensor in self._generator.state_dict().values())

    def render(self, seeds: Sequence[int]) -> NDArray[np.uint8]:
        """The pixels (N, R, R, C) of `seeds`. Only one bucket of them is ever in floats."""
        spec = self.header.spec
        pixels = np.empty((len(seeds), spec.resolution, spec.resolution, spec.channels), dtype=np.uint8)
        for part in self._parts(len(seeds)):
            images = self._images(seeds[part])  # (n, C, R, R)
            pixels[part] = to_pixels(images).permute(0, 2, 3, 1).cpu().numpy()
        return pixels

    def render_floats(self, seeds: Sequence[int]) -> NDArray[np.float32]:
        """The images (N, C, R, R) of `seeds` in [-1, 1], as they are before rounding."""
        return np.concatenate([self._images(seeds[part]).cpu().numpy() for part in self._parts(len(seeds))])

    def _parts(self, count: int) -> list[slice]:
        """Where `count` seeds are cut so that each part fits into the largest bucket."""
        largest = self.buckets[-1]
        return [slice(start, start + largest) for start in range(0, count, largest)]

    @torch.inference_mode()
    def _images(self, seeds: Sequence[int]) -> Tensor:
        """The images (N, C, R, R) of at most a largest bucket of seeds."""
        drawn = torch.from_numpy(latents(seeds, self._generator.latent_size, self._prior))  # (N, Z)
        return self._padded(drawn.to(self._device))

    def _padded(self, drawn: Tensor) -> Tensor:
        """The images of at most a largest bucket of latents, through the smallest bucket that holds them."""
        bucket = next(bucket for bucket in self.buckets if bucket >= len(drawn))
        padding = drawn.new_zeros((bucket - len(drawn), drawn.shape[1]))
        images: Tensor = self._generator(torch.cat([drawn, padding]))[: len(drawn)]
        return images

    @torch.inference_mode()
    def _agreeing_buckets(self) -> tuple[int, ...]:
        """The buckets that may stand for each other: all that agree with the largest that agrees with itself.

        Every position of every bucket is tried with two different probes among different neighbours, and the
        floats are compared as bits. It costs 254 images.
        """
        drawn = latents(range(BUCKETS[-1]), self._generator.latent_size, self._prior)
        probes = torch.from_numpy(drawn).to(self._device)  # (64, Z)
        reference: Tensor | None = None
        agreeing = []
        for bucket in reversed(BUCKETS):
            there = self._generator(probes[:bucket])
            back = self._generator(probes[:bucket].flip(0)).flip(0)
            reference = there if reference is None and _same_bits(there, back) else reference
            if reference is not None and _same_bits(there, back) and _same_bits(there, reference[:bucket]):
                agreeing.append(bucket)
        return tuple(reversed(agreeing))


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.int32), other.contiguous().view(torch.int32))
