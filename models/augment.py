"""Differentiable augmentation (DiffAugment: Zhao et al. 2020, arXiv 2006.10738, section 3.2 and appendix).

Colour, translation and cutout, in this order, for each image by itself. Draws are a function of (seed,
stream, images_seen) and computed on the CPU, so they are the same for every device.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from contract.augmentation import DiffAugment
from models.randomness import random_words, unit_interval

BRIGHTNESS = 0.5
"""The largest change of brightness in either direction, where an image spans 2."""
SATURATION = 1.0
CONTRAST = 0.5
"""The largest change of the saturation and contrast factors from 1, in either direction."""
TRANSLATION = 1 / 8
CUTOUT = 1 / 2
"""Shares of the image's side."""
DRAWS = 7


@dataclass(frozen=True)
class Draws:
    """Uniform numbers in (0, 1), (7, N) float32, that determine the augmentation of each image of a batch."""

    values: Tensor

    @classmethod
    def of(cls, seed: int, stream: str, images_seen: int, count: int) -> Self:
        words = random_words(seed, f"augment/{stream}", images_seen, DRAWS * count)
        return cls(torch.from_numpy(unit_interval(words)).view(DRAWS, count))

    def of_part(self, part: slice) -> Self:
        """The draws for some images of the batch."""
        return type(self)(self.values[:, part])


def augment(images: Tensor, parameters: DiffAugment, draws: Draws) -> Tensor:
    """Augment images (N, C, R, R), float32 in [-1, 1]; differentiable in `images`.

    Colours may leave [-1, 1]. Areas that are cut out or uncovered by translation become 0, mid-grey.
    """
    strength = parameters.strength
    drawn = draws.values.to(images.device)
    if parameters.color:
        images = _coloured(images, drawn[:3, :, None, None, None], strength)
    if parameters.translation:
        images = _shifted(images, drawn[3:5], round(images.shape[-1] * TRANSLATION * strength))
    if parameters.cutout:
        images = _cut(images, drawn[5:7], round(images.shape[-1] * CUTOUT * strength))
    return images


def _coloured(images: Tensor, drawn: Tensor, strength: float) -> Tensor:
    centred = 2 * drawn - 1  # (3, N, 1, 1, 1) in (-1, 1)
    images = images + centred[0] * (BRIGHTNESS * strength)
    grey = images.mean(dim=1, keepdim=True)  # (N, 1, R, R)
    images = grey + (images - grey) * (1 + centred[1] * (SATURATION * strength))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)  # (N, 1, 1, 1)
    return mean + (images - mean) * (1 + centred[2] * (CONTRAST * strength))


def _shifted(images: Tensor, drawn: Tensor, reach: int) -> Tensor:
    """Translate each image by whole pixels, up to `reach` in every direction."""
    if reach == 0:
        return images
    count, _, side, _ = images.shape
    rows, columns = (drawn * (2 * reach + 1)).long()  # (N,), (N,): where the window begins, 0 … 2 · reach
    places = torch.arange(side, device=images.device)
    padded = pad(images, (reach,) * 4)  # (N, C, R + 2 · reach, R + 2 · reach)
    batch = torch.arange(count, device=images.device)[:, None, None]
    y, x = (rows[:, None] + places)[:, :, None], (columns[:, None] + places)[:, None, :]
    return padded.permute(0, 2, 3, 1)[batch, y, x].permute(0, 3, 1, 2)  # (N, C, R, R)


def _cut(images: Tensor, drawn: Tensor, size: int) -> Tensor:
    """Cut a square of side `size` out of each image, centred anywhere in it."""
    side = images.shape[-1]
    places = torch.arange(side, device=images.device)
    first = (drawn * (side + 1 - size % 2)).long() - size // 2  # (2, N): the first row and column
    inside = (places >= first[..., None]) & (places < first[..., None] + size)  # (2, N, R)
    hidden = inside[0][:, :, None] & inside[1][:, None, :]  # (N, R, R)
    return images * ~hidden[:, None]
