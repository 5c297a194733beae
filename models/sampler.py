"""A loaded generator that renders seeds. The pixels of a seed never depend on what else is in the batch.

Kernels are chosen by batch size, and some sum in another order than others. So batches are made of a few
sizes, the buckets, and a sampler uses only those that it has seen agree, bit for bit, before rounding.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
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
from models.graphs import Graphs
from models.inference import for_inference, plan
from models.latents import latents
from models.networks.pair import Generator
from models.packing import pack
from models.pixels import to_pixels
from models.priors.truncation import truncated
from models.silence import silent

RENDERING_VERSIONS = {"cpu": 3, "cuda": 4}
"""Raised whenever we change what a generator and a seed come to: folding, rounding, choice of kernels."""


def renderer(environment: NumericEnvironment) -> str:
    """Names all that a sample's bytes depend on besides generator, seed and options. Part of every ETag."""
    return f"r{RENDERING_VERSIONS[environment.device]}/{environment.fingerprint}"


class Sampler:
    """One generator in memory, ready to render. Its environment must have been applied to the process."""

    def __init__(
        self, generator: Generator, header: CheckpointHeader, environment: NumericEnvironment
    ) -> None:
        self.header = header
        self._device = environment.device
        self._dtype = torch.bfloat16 if environment.precision == "bfloat16" else torch.float32
        self._plan = plan(environment)
        self._prior = priors.build(header.spec.prior)
        self._generator = for_inference(generator, environment, environment.precision)
        self._graphs = Graphs(self._generator) if environment.device == "cuda" else None
        self._compute = self._graphs or pack(self._generator)
        self.buckets, self._probed = self._agreeing_buckets()

    @classmethod
    def load(cls, path: Path, digest: str, environment: NumericEnvironment) -> Self:
        """Read a checkpoint, making sure that it is the one that `digest` names, and warm it up.

        Raises:
            ServiceError: `checkpoint_unreadable`.
        """
        generator, header = load_checkpoint(path, digest)
        return cls(generator, header, environment)

    @property
    def bytes(self) -> int:
        """Memory that its weights take, and on a GPU what lies between its layers."""
        weights: int = sum(tensor.nbytes for tensor in self._generator.state_dict().values())
        return weights + (self._graphs.bytes if self._graphs else 0)

    def render(self, seeds: Sequence[int]) -> NDArray[np.uint8]:
        """The pixels (N, R, R, C) of `seeds`."""
        return self.render_latents(self.draw(seeds))

    def render_floats(self, seeds: Sequence[int]) -> NDArray[np.float32]:
        """The images (N, C, R, R) of `seeds` in [-1, 1], as they are before rounding."""
        return self.render_latent_floats(self.draw(seeds))

    def draw(self, seeds: Sequence[int], truncation: float = 1.0) -> NDArray[np.float32]:
        """The latents (N, Z) of `seeds`, from the middle share of the prior that `truncation` leaves."""
        return latents(seeds, self._generator.latent_size, truncated(self._prior, truncation))

    def render_latents(
        self, drawn: NDArray[np.float32], after_pass: Callable[[], None] = silent
    ) -> NDArray[np.uint8]:
        """The pixels (N, R, R, C) of latents (N, Z). Only one bucket of them is ever in floats."""
        spec = self.header.spec
        pixels = np.empty((len(drawn), spec.resolution, spec.resolution, spec.channels), dtype=np.uint8)
        for part in self._parts(len(drawn)):
            images = self._images(drawn[part])  # (n, C, R, R)
            pixels[part] = to_pixels(images).permute(0, 2, 3, 1).cpu().numpy()
            after_pass()
        return pixels

    def render_latent_floats(
        self, drawn: NDArray[np.float32], after_pass: Callable[[], None] = silent
    ) -> NDArray[np.float32]:
        """The images (N, C, R, R) of latents (N, Z), as they are before rounding."""
        images = []
        for part in self._parts(len(drawn)):
            images.append(self._images(drawn[part]).cpu().numpy())
            after_pass()
        return np.concatenate(images)

    def still_works(self) -> bool:
        """Whether a forward pass gives, now too, the very image that it gave when this was loaded."""
        return _same_bits(self._images(self.draw([0])).cpu(), self._probed)

    def _parts(self, count: int) -> list[slice]:
        """Where `count` latents are cut."""
        sizes = parts(count, self.buckets, self._plan.most_padding)
        return [slice(start, end) for start, end in pairwise(accumulate(sizes, initial=0))]

    def _images(self, rows: NDArray[np.float32]) -> Tensor:
        """The images of at most a largest bucket of latents, through the smallest bucket that holds them."""
        drawn = torch.from_numpy(rows)  # (N, Z)
        bucket = next(bucket for bucket in self.buckets if bucket >= len(drawn))
        padding = drawn.new_zeros((bucket - len(drawn), drawn.shape[1]))
        return self._forward(torch.cat([drawn, padding]))[: len(drawn)]

    @torch.inference_mode()
    def _forward(self, drawn: Tensor) -> Tensor:
        """The images (N, C, R, R), in float32 whatever they were computed in, of latents (N, Z)."""
        images: Tensor = self._compute(drawn.to(self._device, self._dtype))
        return images.float()

    def _agreeing_buckets(self) -> tuple[tuple[int, ...], Tensor]:
        """The buckets that may stand for each other: all that agree with the largest that agrees with itself.

        Every position of every bucket is tried with two different probes among different neighbours, or with
        more where the plan asks for it, and the floats are compared as bits. On a CPU it costs four times the
        largest bucket in images, and warms all of them. Returned with the image (1, C, R, R) of seed 0.
        """
        smallest, largest = self._plan.smallest_bucket, self._plan.largest_bucket
        probes = torch.from_numpy(latents(range(largest), self._generator.latent_size, self._prior))  # (B, Z)
        reference: Tensor | None = None
        agreeing = []
        bucket = largest
        while bucket >= smallest:
            images = self._forward(probes[:bucket])
            if self._is_at_one(probes[:bucket], images):
                reference = images if reference is None else reference
                if _same_bits(images, reference[:bucket]):
                    agreeing.append(bucket)
            bucket //= 2
        if reference is None:
            raise RuntimeError("no batch of this generator gives the same images twice on this device")
        return tuple(reversed(agreeing)), reference[:1].cpu().clone()

    def _is_at_one(self, probes: Tensor, images: Tensor) -> bool:
        """Whether the probes give these images wherever they are in a batch of this size."""
        back = self._forward(probes.flip(0)).flip(0)
        turns = range(1, min(1 + self._plan.rotations, len(probes)))
        turned = (self._forward(probes.roll(turn, 0)).roll(-turn, 0) for turn in turns)
        return _same_bits(images, back) and all(_same_bits(images, other) for other in turned)


def parts(count: int, buckets: Sequence[int], most_padding: float) -> list[int]:
    """How many of `count` images go through the generator at once, time after time.

    Each part is padded to the smallest bucket that holds it, so what fills less than 1 − `most_padding` of
    one is cut at the next smaller: 48 images through 32 and 16 take three quarters of the time of 64.
    """
    cut = []
    while count:
        bucket = next((bucket for bucket in buckets if bucket >= count), buckets[-1])
        below = [bucket for bucket in buckets if bucket <= count]
        if count < bucket and bucket - count > most_padding * bucket and below:
            bucket = below[-1]
        cut.append(min(bucket, count))
        count -= cut[-1]
    return cut


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.int32), other.contiguous().view(torch.int32))
