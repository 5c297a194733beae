"""Converts between pixels 0 … 255 and the networks' numbers in [-1, 1]. Only this file knows both scales.

To numbers: float32(pixel) / 127.5 − 1. To pixels: (number + 1) · 127.5, rounded to the nearest whole number,
ties to even, then clamped to 0 … 255; what is not a number (NaN) counts as 0. Every operation is done in
float32 and rounded once, so that the same numbers give the same pixels on every machine; converting pixels
to numbers and back is lossless.
"""

import torch
from torch import Tensor


def to_numbers(pixels: Tensor) -> Tensor:
    """Convert uint8 to float32 in [-1, 1], preserving shape and memory format."""
    return pixels.to(torch.float32).div_(127.5).sub_(1.0)


def to_pixels(numbers: Tensor) -> Tensor:
    """Convert float32 to uint8, preserving shape and memory format."""
    assert numbers.dtype == torch.float32
    return numbers.nan_to_num(nan=0.0).add_(1.0).mul_(127.5).round_().clamp_(0.0, 255.0).to(torch.uint8)
