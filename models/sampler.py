"""A loaded generator that renders seeds. A seed's pixels never depend on the rest of the batch.

Libraries choose kernels by batch size, and kernels differ in their order of summation. So batches have only a
few sizes, the buckets, and a sampler uses only buckets whose images agreed bit for bit before rounding.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contract.checkpoint import CheckpointHeader
from contract.errors import ErrorCode, ServiceError
from models import priors
from models.checkpoint import load_checkpoint
from models.environment import NumericEnvironment
from models.graphs import Graphs
from models.inference import for_inference, plan
from models.largest_batch import largest_batch
from models.latents import latents, shares_of
from models.networks.pair import Generator
from models.packing import pack
from models.pixels import to_pixels
from models.priors.paths import along
from models.priors.truncation import truncated
from models.silence import silent

MOST_PASS_SECONDS = 0.25
"""Of one forward pass, by the pace at load time: small requests may wait for its end."""

RENDERING_VERSIONS = {"cpu": 5, "cuda": 5}
"""Raised whenever a change of ours alters the image of a generator and seed: folding, rounding, kernels."""


def renderer(environment: NumericEnvironment) -> str:
    """Names everything a sample's bytes depend on besides generator, seed and options. Part of every ETag."""
    return f"r{RENDERING_VERSIONS[environment.device]}/{environment.fingerprint}"


@dataclass(frozen=True)
class _Probed:
    """What batches of one size gave for the first seeds, (N, C, R, R), and the seconds that each took."""

    bucket: int
    images: Tensor
    seconds_each: float


class Sampler:
    """One generator in memory, ready to render. Its environment must already be applied to the process."""

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
        self.buckets, probed = self._agreeing_buckets()
        self.seconds_each = probed.seconds_each
        """What an image takes in the largest bucket, as measured now; batches depend on it, images never."""
        self._first_image = probed.images[:1].cpu().clone()  # (1, C, R, R)

    @classmethod
    def load(cls, path: Path, digest: str, environment: NumericEnvironment) -> Self:
        """Read a checkpoint, verify its digest, and warm it up.

        Raises:
            ServiceError: `checkpoint_unreadable`, also if its images are not finite.
        """
        generator, header = load_checkpoint(path, digest)
        return cls(generator, header, environment)

    @property
    def bytes(self) -> int:
        """Memory of its weights and, on a GPU, of its recorded graphs with their intermediate results."""
        weights: int = sum(tensor.nbytes for tensor in self._generator.state_dict().values())
        return weights + (self._graphs.bytes if self._graphs else 0)

    def passes(self, count: int) -> int:
        """How many forward passes so many images take, almost equally long ones."""
        return len(self._parts(count))

    def render(self, seeds: Sequence[int]) -> NDArray[np.uint8]:
        """The pixels (N, R, R, C) of `seeds`."""
        return self.render_latents(self.draw(seeds))

    def render_floats(self, seeds: Sequence[int]) -> NDArray[np.float32]:
        """The images (N, C, R, R) of `seeds` in [-1, 1], before rounding to pixels."""
        return self.render_latent_floats(self.draw(seeds))

    def draw(self, seeds: Sequence[int], truncation: float = 1.0) -> NDArray[np.float32]:
        """The latents (N, Z) of `seeds`, from the middle share `truncation` of the prior."""
        return latents(seeds, self._generator.latent_size, truncated(self._prior, truncation))

    def draw_paths(
        self, ends: Sequence[tuple[int, int]], ways: Sequence[Sequence[float]], truncation: float = 1.0
    ) -> NDArray[np.float32]:
        """The latents (N, Z) so far along each path between two seeds; 0 and 1 give those of the seeds."""
        size, prior = self._generator.latent_size, truncated(self._prior, truncation)
        start, end = (shares_of(seeds, size) for seeds in zip(*ends, strict=True))
        paths = [path for path, points in enumerate(ways) for _ in points]
        return along(prior, start, end, paths, [way for points in ways for way in points])

    def render_latents(
        self, drawn: NDArray[np.float32], after_pass: Callable[[], None] = silent
    ) -> NDArray[np.uint8]:
        """The pixels (N, R, R, C) of latents (N, Z). Holds at most one bucket of images as floats."""
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
        """The images (N, C, R, R) of latents (N, Z), before rounding to pixels. NaN becomes 0."""
        images = []
        for part in self._parts(len(drawn)):
            images.append(self._images(drawn[part]).nan_to_num(nan=0.0).cpu().numpy())
            after_pass()
        return np.concatenate(images)

    def still_works(self) -> bool:
        """Whether a forward pass still gives exactly the image that it gave at load time."""
        return _same_bits(self._images(self.draw([0])).cpu(), self._first_image)

    def _parts(self, count: int) -> list[slice]:
        """The slices into which `count` latents are split."""
        brief = [bucket for bucket in self.buckets if bucket * self.seconds_each <= MOST_PASS_SECONDS]
        sizes = parts(count, brief or self.buckets[:1], self._plan.most_padding)
        return [slice(start, end) for start, end in pairwise(accumulate(sizes, initial=0))]

    def _images(self, rows: NDArray[np.float32]) -> Tensor:
        """The images of latents, at most a largest bucket, padded to the smallest bucket that fits them."""
        drawn = torch.from_numpy(rows)  # (N, Z)
        bucket = next(bucket for bucket in self.buckets if bucket >= len(drawn))
        padding = drawn.new_zeros((bucket - len(drawn), drawn.shape[1]))
        return self._forward(torch.cat([drawn, padding]))[: len(drawn)]

    @torch.inference_mode()
    def _forward(self, drawn: Tensor) -> Tensor:
        """The images (N, C, R, R) of latents (N, Z), converted to float32."""
        images: Tensor = self._compute(drawn.to(self._device, self._dtype))
        return images.float()

    def _agreeing_buckets(self) -> tuple[tuple[int, ...], _Probed]:
        """The interchangeable buckets, and what the largest of them gave for the probes.

        The largest is the first that gives every probe the same image among different neighbours; the others
        are those that give these images, too. Floats are compared as bits. Every position of every bucket is
        tested with two different probes, or with more if the plan says so. This warms all buckets.
        """
        smallest = self._plan.smallest_bucket
        largest = max(smallest, largest_batch(self.header.spec, self._plan.largest_bucket))
        probes = torch.from_numpy(latents(range(largest), self._generator.latent_size, self._prior))  # (B, Z)
        sizes = _halvings(largest, smallest)
        reference = next(filter(None, (self._probe(probes, bucket) for bucket in sizes)), None)
        if reference is None:
            raise RuntimeError("no batch of this generator gives the same images twice on this device")
        if not torch.isfinite(reference.images).all():
            detail = (
                f"Images of this generator are not finite in {self._plan.precision}: it cannot be served."
            )
            raise ServiceError(ErrorCode.CHECKPOINT_UNREADABLE, detail)
        agreeing = [bucket for bucket in sizes if self._agrees(bucket, probes, reference.images)]
        return (*reversed(agreeing), reference.bucket), reference

    def _probe(self, probes: Tensor, bucket: int) -> _Probed | None:
        """Render the probes in batches of this size; None if an image depends on its position."""
        images = self._in_batches(probes, bucket)  # also warms up, so only what follows is timed
        began_at = time.perf_counter()
        if not self._is_consistent(probes, bucket, images):
            return None
        passes = 1 + min(self._plan.rotations, len(probes) - 1)
        return _Probed(bucket, images, (time.perf_counter() - began_at) / (passes * len(probes)))

    def _is_consistent(self, probes: Tensor, bucket: int, images: Tensor) -> bool:
        """Whether the probes give these images at every tested position in batches of this size."""
        back = self._in_batches(probes.flip(0), bucket).flip(0)
        turns = range(1, min(1 + self._plan.rotations, len(probes)))
        turned = (self._in_batches(probes.roll(turn, 0), bucket).roll(-turn, 0) for turn in turns)
        return _same_bits(images, back) and all(_same_bits(images, other) for other in turned)

    def _agrees(self, bucket: int, probes: Tensor, images: Tensor) -> bool:
        """Whether a smaller bucket gives the probes these images, two or more at every position.

        Fewer suffice at a higher resolution, where every image consists of more numbers that could differ.
        """
        count = max(2 * bucket, self._plan.probes_at_32_px * 32 // self.header.spec.resolution)
        return _same_bits(self._in_batches(probes[:count], bucket), images[:count])

    def _in_batches(self, probes: Tensor, bucket: int) -> Tensor:
        """The images of the probes, in full batches of this size."""
        return torch.cat([self._forward(probes[at : at + bucket]) for at in range(0, len(probes), bucket)])


def _halvings(largest: int, smallest: int) -> Iterator[int]:
    """The bucket sizes, from the largest down to the smallest."""
    while largest >= smallest:
        yield largest
        largest //= 2


def parts(count: int, buckets: Sequence[int], most_padding: float) -> list[int]:
    """Split `count` images into batch sizes, one per forward pass.

    Each part is padded to the smallest bucket that fits it, but if it would fill less than 1 − `most_padding`
    of that, it is split at the next smaller one: 48 images as 32 and 16 take three quarters of 64's time.
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
