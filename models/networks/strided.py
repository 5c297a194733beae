"""Convolutions with 4×4 kernels and stride 2, which double or halve the size."""

from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from models.networks import winograd

LEAST_CHANNELS = 96
LEAST_PRODUCTS = 2**24
"""With fewer channels on a side, or fewer multiplications for each tap, Winograd's algorithm takes longer.

What it adds to the time grows with the size of the tensors, what it saves also with the number of channels.
"""


class Strided(nn.Module):
    """A layer that can be trained by Winograd's algorithm where that is faster."""

    in_channels: int
    out_channels: int
    is_minimal = False
    """Whether it does so. In eval mode it is a plain convolution in any case."""

    def halved(self, features: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """(N, in_channels, 2S, 2S) and (out_channels, in_channels, 4, 4) to (N, out_channels, S, S)."""
        if self._gains(features.shape[0], features.shape[-1] // 2):
            return _biased(winograd.halve(features, kernel), bias)
        return conv2d(features, kernel, bias, stride=2, padding=1)

    def doubled(self, features: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """(N, in_channels, S, S) and (in_channels, out_channels, 4, 4) to (N, out_channels, 2S, 2S)."""
        if self._gains(features.shape[0], features.shape[-1]):
            return _biased(winograd.double(features, kernel), bias)
        return conv_transpose2d(features, kernel, bias, stride=2, padding=1)

    def _gains(self, batch: int, size: int) -> bool:
        """Whether this batch is computed by Winograd's algorithm, given the size of the smaller side."""
        if not (self.is_minimal and self.training) or size % 2:
            return False
        is_wide = min(self.in_channels, self.out_channels) >= LEAST_CHANNELS
        return is_wide and batch * size**2 * self.in_channels * self.out_channels >= LEAST_PRODUCTS


class HalvingConv2d(Strided, nn.Conv2d):
    """(N, in_channels, 2S, 2S) to (N, out_channels, S, S)."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.halved(features, self.weight, self.bias)


class DoublingConv2d(Strided, nn.ConvTranspose2d):
    """(N, in_channels, S, S) to (N, out_channels, 2S, 2S)."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, features: Tensor, _output_size: list[int] | None = None) -> Tensor:
        return self.doubled(features, self.weight, self.bias)


def minimise(network: nn.Module) -> None:
    """Let layers train by Winograd's algorithm where that is faster: on CPUs, in channels_last. In place."""
    for layer in network.modules():
        if isinstance(layer, Strided):
            layer.is_minimal = True


def _biased(features: Tensor, bias: Tensor | None) -> Tensor:
    return features if bias is None else features + bias.to(features.dtype)[:, None, None]
