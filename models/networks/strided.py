"""Convolutions with 4×4 kernels and stride 2, which double or halve the size.

In training they may take shortcuts, which compute the same in another order: Winograd's algorithm between
many channels, sub-pixels from or to an image's few.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d

from models.networks import subpixels, winograd

LEAST_CHANNELS = 64
LEAST_PRODUCTS = 2**24
"""With fewer channels on a side, or fewer multiplications for each tap, Winograd's algorithm takes longer.

What it adds to the time grows with the size of the tensors, what it saves also with the number of channels.
"""
MOST_COLOURS = 4
"""The most channels of an image that is worth taking for sub-pixels."""


class StridedLayer(nn.Module):
    """A layer that may take shortcuts."""

    in_channels: int
    out_channels: int
    may_take_shortcuts = False
    """In eval mode it is a plain convolution in any case."""

    def halved(self, images: Sequence[Tensor], kernel: Tensor, bias: Tensor | None) -> list[Tensor]:
        """(N, in_channels, 2S, 2S) and (out_channels, in_channels, 4, 4) to (N, out_channels, S, S).

        For each of several batches of one size S, which Winograd's algorithm multiplies together.
        """
        _, _, height, width = images[0].shape
        if self._uses_winograd(sum(map(len, images)), height, width):
            return [_biased(halved, bias) for halved in winograd.halve(images, kernel)]
        return [self._halved_alone(image, kernel, bias) for image in images]

    def _halved_alone(self, image: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        _, _, height, width = image.shape
        if self._uses_subpixels(self.in_channels, height, width) and image.requires_grad:
            return subpixels.halve(image, kernel, bias)  # what is faster is the gradient of the image
        return conv2d(image, kernel, bias, stride=2, padding=1)

    def doubled(self, features: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        """(N, in_channels, S, S) and (in_channels, out_channels, 4, 4) to (N, out_channels, 2S, 2S)."""
        batch, _, height, width = features.shape
        if self._uses_winograd(batch, 2 * height, 2 * width):
            [doubled] = winograd.double([features], kernel)
            return _biased(doubled, bias)
        if self._uses_subpixels(self.out_channels, 2 * height, 2 * width):
            return subpixels.double(features, kernel, bias)
        return conv_transpose2d(features, kernel, bias, stride=2, padding=1)

    def _uses_winograd(self, batch: int, height: int, width: int) -> bool:
        """Whether it does for a batch of this size on its larger side."""
        if not (self._takes_shortcuts and height == width and height % 4 == 0):
            return False
        is_wide = min(self.in_channels, self.out_channels) >= LEAST_CHANNELS
        products = batch * (height // 2) * (width // 2) * self.in_channels * self.out_channels
        return is_wide and products >= LEAST_PRODUCTS

    def _uses_subpixels(self, colours: int, height: int, width: int) -> bool:
        """Whether it does with so many channels and this size on its larger side."""
        return self._takes_shortcuts and colours <= MOST_COLOURS and height % 2 == width % 2 == 0

    @property
    def _takes_shortcuts(self) -> bool:
        return self.may_take_shortcuts and self.training


class HalvingConv2d(StridedLayer, nn.Conv2d):
    """(N, in_channels, 2S, 2S) to (N, out_channels, S, S)."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, image: Tensor) -> Tensor:
        [halved] = self.of_each([image])
        return halved

    def of_each(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Several batches (N, in_channels, 2S, 2S) at once, which may be faster."""
        return self.halved(images, self.weight, self.bias)


class DoublingConv2d(StridedLayer, nn.ConvTranspose2d):
    """(N, in_channels, S, S) to (N, out_channels, 2S, 2S)."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 4, 2, 1, bias=bias)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None:
            return super().forward(features, output_size)
        return self.doubled(features, self.weight, self.bias)


def allow_shortcuts(network: nn.Module) -> None:
    """Let the layers of a network take shortcuts in training. In place."""
    for layer in network.modules():
        if isinstance(layer, StridedLayer):
            layer.may_take_shortcuts = True


def _biased(features: Tensor, bias: Tensor | None) -> Tensor:
    """Features (N, F, S, S) plus a bias (F,), in the features' precision."""
    return features if bias is None else features + bias.to(features.dtype)[:, None, None]
