"""Pictures as training steps see them, (N, 3, S, S) in [-1, 1]: shifted and recoloured at random."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models.pixels import to_numbers

TINTED = 0.3  # of the clothes
GREYED = 0.2  # of the others


View = Callable[[Tensor, int, Generator], Tensor]


def of_clothes(pixels: Tensor, side: int, random: Generator) -> Tensor:
    """Grey (N, 1, 28, 28), mirrored, shifted and scaled a little; some recoloured between two colours."""
    count = len(pixels)
    images = _placed(to_numbers(pixels), side, random, padding="border")
    colours = torch.rand((2, count, 3, 1, 1), generator=random) * 2 - 1
    tinted = colours[0].lerp(colours[1], (images + 1) / 2)
    return torch.where(_some(TINTED, count, random), tinted, images)


def of_emoji(pixels: Tensor, side: int, random: Generator) -> Tensor:
    """With alpha (N, 4, 64, 64), on a background of one colour: white, black or random."""
    count = len(pixels)
    images = to_numbers(pixels)
    alpha = (images[:, 3:] + 1) / 2
    any_colour = torch.rand((count, 3, 1, 1), generator=random) * 2 - 1
    extreme = torch.randint(2, (count, 1, 1, 1), generator=random) * 2.0 - 1
    ground = torch.where(_some(0.5, count, random), extreme, any_colour)
    return _greyed(_placed(ground.lerp(images[:, :3], alpha), side, random, padding="border"), random)


def of_photos(pixels: Tensor, side: int, random: Generator) -> Tensor:
    """Tiles (N, 3, 64, 64), some whole; below 64 px, the others are cropped to their centre."""
    images = to_numbers(pixels)
    margin = (images.shape[-1] - side) // 2
    cut = images[:, :, margin : margin + side, margin : margin + side]
    images = torch.where(_some(0.5, len(images), random), cut, functional.adaptive_avg_pool2d(images, side))
    mirrored = torch.where(_some(0.5, len(images), random), images.flip(3), images)
    return _greyed(mirrored, random)


def plain(pixels: Tensor, side: int) -> Tensor:
    """Not random, for evaluation: scaled by area or bilinearly, transparent parts on white."""
    images = to_numbers(pixels)
    if images.shape[1] == 4:
        images = torch.ones(1).lerp(images[:, :3], (images[:, 3:] + 1) / 2)
    return _scaled(images, side).expand(-1, 3, -1, -1).contiguous()


def _placed(images: Tensor, side: int, random: Generator, padding: str) -> Tensor:
    """A window of 0.85 … 1.2 times the frame, shifted by up to a twelfth; half are mirrored."""
    count = len(images)
    images = _scaled(images, side)
    drawn = torch.rand((4, count), generator=random)
    scale = 0.85 + 0.35 * drawn[0]
    matrices = torch.zeros(count, 2, 3)
    matrices[:, 0, 0] = scale * torch.where(drawn[3] < 0.5, -1.0, 1.0)
    matrices[:, 1, 1] = scale
    matrices[:, :, 2] = (drawn[1:3].T - 0.5) / 3
    grid = functional.affine_grid(matrices, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False)


def _scaled(images: Tensor, side: int) -> Tensor:
    if images.shape[-1] >= side:
        return functional.adaptive_avg_pool2d(images, side)
    return functional.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)


def _greyed(images: Tensor, random: Generator) -> Tensor:
    return torch.where(_some(GREYED, len(images), random), images.mean(1, keepdim=True), images)


def _some(share: float, count: int, random: Generator) -> Tensor:
    return torch.rand((count, 1, 1, 1), generator=random) < share
