"""Computes features in batches of one size, so that an image has the same ones whatever is passed with it.

Letters: N batch, C channels, R resolution, F features.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


def in_batches(network: Callable[[Tensor], Tensor], images: Tensor, size: int) -> Tensor:
    """The features (N, F), on the images' device, of images (N, C, R, R), float32 in [-1, 1], C 1 or 3.

    The network computes them in float32, of `size` images at a time: the last ones are padded with grey.
    """
    assert images.dtype == torch.float32
    assert images.shape[1] in (1, 3)
    with (
        torch.autocast(images.device.type, enabled=False),
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
    ):
        parts = torch.split(images, size)  # of no images: one empty part
        return torch.cat([network(_padded(part, size))[: len(part)] for part in parts])


def _padded(images: Tensor, size: int) -> Tensor:
    return functional.pad(images, (0, 0, 0, 0, 0, 0, 0, size - len(images)))
