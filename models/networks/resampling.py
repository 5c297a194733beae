"""Convolutions that double or halve the size as they go, each computed as a single strided one.

Nearest upsampling followed by a 3×3 convolution, and a 3×3 convolution followed by 2×2 averages, are both
linear: summed over shifts by a pixel, the 3×3 kernel becomes a 4×4 one of stride 2 that does the same with
4/9 of the products, and without the large tensor in between.
"""

from torch import Tensor, nn
from torch.nn import ConvTranspose2d, Parameter
from torch.nn.functional import conv2d, conv_transpose2d, pad


class GrowingConv2d(nn.Conv2d):
    """(N, above, S, S) to (N, below, 2S, 2S): each pixel four times, then a 3×3 convolution."""

    def __init__(self, above: int, below: int) -> None:
        super().__init__(above, below, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return conv_transpose2d(features, self._kernel(), self.bias, stride=2, padding=1)

    def strided(self) -> ConvTranspose2d:
        """The same as a layer whose kernel is summed up once: in a residual generator twice as fast alone."""
        kernel = self._kernel().detach().contiguous()
        layer = ConvTranspose2d(self.in_channels, self.out_channels, 4, 2, 1, device="meta")
        layer.weight = Parameter(kernel, requires_grad=self.weight.requires_grad)
        layer.bias = self.bias
        return layer.train(self.training)

    def _kernel(self) -> Tensor:
        return _with_shifts(self.weight.flip(2, 3)).transpose(0, 1)  # (above, below, 4, 4)


class ShrinkingConv2d(nn.Conv2d):
    """(N, above, 2S, 2S) to (N, below, S, S): a 3×3 convolution, then the mean of each 2×2 square."""

    def __init__(self, above: int, below: int) -> None:
        super().__init__(above, below, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        kernel = _with_shifts(self.weight) / 4  # (below, above, 4, 4)
        return conv2d(features, kernel, self.bias, stride=2, padding=1)


def _with_shifts(kernel: Tensor) -> Tensor:
    """The sum (…, 4, 4) of a kernel (…, 3, 3) and itself moved by one down, right, and both."""
    rows = pad(kernel, (0, 0, 0, 1)) + pad(kernel, (0, 0, 1, 0))
    return pad(rows, (0, 1)) + pad(rows, (1, 0))
