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
from models.priors.truncation import truncated

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
        """The pixels (N, R, R, C) of `seeds`."""
        return self.render_latents(self.draw(seeds))

    def render_floats(self, seeds: Sequence[int]) -> NDArray[np.float32]:
        """The images (N, C, R, R) of `seeds` in [-1, 1], as they are before rounding."""
        return self.render_latent_floats(self.draw(seeds))

    def draw(self, seeds: Sequence[int], truncation: float = 1.0) -> NDArray[np.float32]:
        """The latents (N, Z) of `seeds`, from the middle share of the prior that `truncation` leaves."""
        return latents(seeds, self._generator.latent_size, truncated(self._prior, truncation))

    def render_latents(self, drawn: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The pixels (N, R, R, C) of latents (N, Z). Only one bucket of them is ever in floats."""
        spec = self.header.spec
        pixels = np.empty((len(drawn), spec.resolution, spec.resolution, spec.channels), dtype=np.uint8)
        for part in self._parts(len(drawn)):
            images = self._images(drawn[part])  # (n, C, R, R)
            pixels[part] = to_pixels(images).permute(0, 2, 3, 1).cpu().numpy()
        return pixels

    def render_latent_floats(self, drawn: NDArray[np.float32]) -> NDArray[np.float32]:
        """The images (N, C, R, R) of latents (N, Z), as they are before rounding."""
        return np.concatenate([self._images(drawn[part]).cpu().numpy() for part in self._parts(len(drawn))])

    def _parts(self, count: int) -> list[slice]:
        """Where `count` latents are cut so that each part fits into the largest bucket."""
        largest = self.buckets[-1]
        return [slice(start, start + largest) for start in range(0, count, largest)]

    @torch.inference_mode()
    def _images(self, rows: NDArray[np.float32]) -> Tensor:
        """The images of at most a largest bucket of latents, through the smallest bucket that holds them."""
        drawn = torch.from_numpy(rows).to(self._device)  # (N, Z)
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
