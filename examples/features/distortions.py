"""Typical faults of generators, applied to images (N, 3, S, S) in [-1, 1].

`strength` (N, 1, 1, 1) is in [0, 1]: 0 leaves an image (nearly) unchanged, 1 is plainly visible.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

Distortion = Callable[[Tensor, Tensor, Generator], Tensor]


def blur(images: Tensor, strength: Tensor, _random: Generator) -> Tensor:
    """Blend with the image under a 7×7 binomial filter."""
    row = torch.tensor([1.0, 6, 15, 20, 15, 6, 1]) / 64
    kernel = (row[:, None] * row).expand(3, 1, 7, 7)
    padded = functional.pad(images, (3, 3, 3, 3), mode="reflect")
    blurred: Tensor = functional.conv2d(padded, kernel, groups=3)
    return images.lerp(blurred, strength)


def noise(images: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Add independent noise to each pixel, grey for half the images and coloured for the others."""
    drawn = torch.randn(images.shape, generator=random)
    drawn[::2] = drawn[::2, :1]
    return images + 0.35 * strength * drawn


def checkerboard(images: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Artefacts of transposed convolutions: each place of a 2×2 or 4×4 grid has its own gain and offset."""
    side = images.shape[-1]
    period = 2 if torch.rand((), generator=random) < 0.5 else 4
    drawn = torch.randn((2, len(images), 1, period, period), generator=random)
    grid = drawn.repeat(1, 1, 1, side // period, side // period)  # (2, N, 1, S, S)
    return images * (1 + 0.3 * strength * grid[0]) + 0.15 * strength * grid[1]


def blocks(images: Tensor, strength: Tensor, _random: Generator) -> Tensor:
    """Quantise the cosine coefficients of 8×8 blocks, higher ones more coarsely, as JPEG does."""
    count, channels, side, _ = images.shape
    cosines = _cosines()
    squares = images.view(count, channels, side // 8, 8, side // 8, 8).transpose(3, 4)
    places = torch.arange(8.0)
    step = (0.02 + 0.12 * strength[..., None, None]) * (1 + places[:, None] + places)
    coarse = (cosines @ squares @ cosines.T / step).round() * step
    restored: Tensor = (cosines.T @ coarse @ cosines).transpose(3, 4).reshape(images.shape)
    return restored


def warp(images: Tensor, strength: Tensor, random: Generator) -> Tensor:
    """Melt shapes: sample each pixel at a small offset that varies smoothly over the image."""
    count, _, side, _ = images.shape
    coarse = torch.randn((count, 2, 5, 5), generator=random) * 0.22 * strength
    moved = functional.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=False)
    still = functional.affine_grid(
        torch.eye(2, 3).expand(count, 2, 3), [count, 3, side, side], align_corners=False
    )
    grid = still + moved.permute(0, 2, 3, 1)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def blend(images: Tensor, strength: Tensor, _random: Generator) -> Tensor:
    """Blend with another image of the batch."""
    return images.lerp(images.roll(1, 0), 0.5 * strength)


DISTORTIONS: dict[str, Distortion] = {
    "blur": blur,
    "noise": noise,
    "checkerboard": checkerboard,
    "blocks": blocks,
    "warp": warp,
    "blend": blend,
}


def distorted(images: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """Distort half the images, each in one way. The labels (N,) are 0 for undistorted, k for the k-th way."""
    each = len(images) // (2 * len(DISTORTIONS))
    made, labels = list(torch.split(images, each)), torch.zeros(len(images), dtype=torch.int64)
    for index, distort in enumerate(DISTORTIONS.values()):
        strength = 0.25 + 0.75 * torch.rand((each, 1, 1, 1), generator=random)
        made[index] = distort(made[index], strength, random)
        labels[index * each : (index + 1) * each] = index + 1
    return torch.cat(made).clamp(-1, 1), labels


def _cosines() -> Tensor:
    """The matrix of the orthonormal cosine transform of eight values."""
    places = torch.arange(8.0)
    matrix = torch.cos(math.pi / 8 * places[:, None] * (places + 0.5)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix
