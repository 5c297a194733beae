"""Convolutions that double or halve the size, each computed as a single strided convolution.

Nearest upsampling followed by a 3×3 convolution, and a 3×3 convolution followed by 2×2 averaging, are both
linear. Summing the 3×3 kernel over shifts of one pixel gives an equivalent 4×4 kernel of stride 2, which
takes 4/9 of the products and no large intermediate tensor.

With few output channels the opposite is faster, because the library's kernels compute sixteen at once.
"""

from torch import Tensor, nn
from torch.nn import ConvTranspose2d, Parameter
from torch.nn.functional import pad, pixel_unshuffle

from models.networks.strided import StridedLayer


class GrowingConv2d(StridedLayer, nn.Conv2d):
    """(N, in_channels, S, S) to (N, out_channels, 2S, 2S): nearest upsampling, then a 3×3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return self.doubled(features, self._kernel(), self.bias)

    def strided(self) -> ConvTranspose2d:
        """An equivalent layer with a precomputed kernel: renders a single image twice as fast in a resnet."""
        kernel = self._kernel().detach().contiguous()
        layer = ConvTranspose2d(self.in_channels, self.out_channels, 4, 2, 1, device="meta")
        layer.weight = Parameter(kernel, requires_grad=self.weight.requires_grad)
        layer.bias = self.bias
        return layer.train(self.training)

    def _kernel(self) -> Tensor:
        return _with_shifts(self.weight.flip(2, 3)).transpose(0, 1)  # (in_channels, out_channels, 4, 4)


class ShrinkingConv2d(StridedLayer, nn.Conv2d):
    """(N, in_channels, 2S, 2S) to (N, out_channels, S, S): a 3×3 convolution, then means of 2×2 squares."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        kernel = _with_shifts(self.weight) / 4  # (out_channels, in_channels, 4, 4)
        [halved] = self.halved([features], kernel, self.bias)
        return halved


def doubles(layer: ConvTranspose2d) -> bool:
    """Whether this is a transposed 4×4 convolution of stride 2, as in DCGAN."""
    return (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))


def subpixel(layer: ConvTranspose2d) -> list[nn.Module]:
    """Rewrite a layer that `doubles` as a 2×2 convolution and a shuffle (Shi et al. 2016, arXiv 1609.05158).

    The convolution returns the channels of the four pixels of each square of the padded image, so what it
    adds at the border is cut off. From 64 channels to 3 it takes two fifths of the time on AVX-512; from 128
    to 64 it would take longer.
    """
    assert doubles(layer)
    in_channels, out_channels = layer.in_channels, layer.out_channels
    kernel = (
        pixel_unshuffle(layer.weight, 2).flip(2, 3).transpose(0, 1)
    )  # (4·out_channels, in_channels, 2, 2)
    bias = layer.weight.new_zeros(out_channels) if layer.bias is None else layer.bias
    convolution = nn.Conv2d(in_channels, 4 * out_channels, 2, padding=1, device="meta")
    convolution.weight = Parameter(kernel.contiguous(), requires_grad=layer.weight.requires_grad)
    convolution.bias = Parameter(bias.repeat_interleave(4), requires_grad=bias.requires_grad)
    return [convolution.train(layer.training), nn.PixelShuffle(2), nn.ZeroPad2d(-1)]


def _with_shifts(kernel: Tensor) -> Tensor:
    """The sum (…, 4, 4) of a kernel (…, 3, 3) and its copies shifted by one down, right, and both."""
    rows = pad(kernel, (0, 0, 0, 1)) + pad(kernel, (0, 0, 1, 0))
    return pad(rows, (0, 1)) + pad(rows, (1, 0))
