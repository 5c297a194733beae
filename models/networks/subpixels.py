"""4×4 convolutions of stride 2 from or to an image of few channels, by sub-pixels (Shi et al. 2016).

A square of four pixels is taken for one pixel of four times as many channels (arXiv 1609.07009). On these a
kernel of 4×4 is one of 2×2, and the stride is 1: oneDNN computes the image's side two to four times as fast.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad, pixel_shuffle, pixel_unshuffle


def halve(image: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """`conv2d` of stride 2 and padding 1: (N, C, 2S, 2S) and (F, C, 4, 4) to (N, F, S, S)."""
    return conv2d(pixel_unshuffle(pad(image, (1, 1, 1, 1)), 2), pixel_unshuffle(kernel, 2), bias)


def double(features: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """`conv_transpose2d` of stride 2 and padding 1: (N, F, S, S) and (F, C, 4, 4) to (N, C, 2S, 2S)."""
    biases = None if bias is None else bias.repeat_interleave(4)
    image = pixel_shuffle(conv_transpose2d(features, pixel_unshuffle(kernel, 2), biases), 2)
    return image[:, :, 1:-1, 1:-1].contiguous(memory_format=torch.channels_last)
