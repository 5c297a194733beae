"""Residual networks (Gulrajani et al. 2017, arXiv 1704.00028; Miyato et al. 2018, arXiv 1802.05957).

The blocks follow the appendices. Every resolution uses the layout of the later paper's networks for 48 to 128
px: widths double as the image is halved, up to eight times, down to 4×4, where the discriminator adds one
more block and scores the sum over the pixels. The papers' own networks for 32 px have a constant width and
discriminators that stop at 8×8, and the earlier paper's ends in a mean. The generator has batch norm before
each ReLU. By default the discriminator has spectral norm, as in the later paper, or none under penalties on
single images, as in the earlier one. Shortcuts change the channels at the smaller size, which gives the same
result.
Letters: N batch, Z latent, F width, R resolution, C channels.
"""

from itertools import pairwise

from torch import Tensor, nn

from contract import architectures as parameters
from models.networks.initialisation import Start, glorot
from models.networks.norm import batch_norm, constrain
from models.networks.pair import Discriminator, Generator, Networks
from models.networks.resampling import GrowingConv2d, ShrinkingConv2d
from models.networks.widths import SMALLEST, doubled_widths


def build(architecture: parameters.Resnet, resolution: int, channels: int) -> Networks:
    generator = ResnetGenerator(architecture, resolution, channels)
    return Networks(generator, ResnetDiscriminator(architecture, resolution, channels))


def _start(name: str, parameter: nn.Parameter) -> Start:
    """Biases 0, batch-norm gains 1, kernels by Glorot's rule, with gain √2 in the residual branches."""
    if name.endswith("bias"):
        return Start()
    if parameter.ndim == 1:
        return Start(1.0)
    return glorot(parameter, 2**0.5 if ".change." in name else 1.0)


class ResnetGenerator(Generator):
    """Turns a latent into 4×4 features; each block then doubles their size."""

    start = staticmethod(_start)

    def __init__(self, architecture: parameters.Resnet, resolution: int, channels: int) -> None:
        super().__init__()
        self.latent_size = architecture.latent_size
        width, *wider = doubled_widths(architecture.generator_width, resolution)
        widest = wider[-1]
        self.layers = nn.Sequential(
            nn.Linear(architecture.latent_size, widest * SMALLEST**2),
            nn.Unflatten(1, (widest, SMALLEST, SMALLEST)),
            *(GrowingBlock(*pair) for pair in pairwise([widest, *reversed(wider), width])),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.layers(latents)  # (N, F·R/8, 4, 4) … (N, F, R, R), (N, C, R, R)
        return images


class GrowingBlock(nn.Module):
    """(N, in_channels, S, S) to (N, out_channels, 2S, 2S)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            GrowingConv2d(in_channels, out_channels),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.Upsample(scale_factor=2))

    def forward(self, features: Tensor) -> Tensor:
        grown: Tensor = self.shortcut(features) + self.change(features)
        return grown


class ResnetDiscriminator(Discriminator):
    """Halves the size block by block down to 4×4, applies one more block, and scores the sum over pixels."""

    start = staticmethod(_start)

    def __init__(self, architecture: parameters.Resnet, resolution: int, channels: int) -> None:
        super().__init__()
        norm = architecture.norm
        widths = doubled_widths(architecture.discriminator_width, resolution)
        self.blocks = nn.Sequential(
            ShrinkingBlock(channels, widths[0], norm, first=True),
            *(ShrinkingBlock(*pair, norm) for pair in pairwise(widths)),
            LastBlock(widths[-1], norm),
            *batch_norm(norm, widths[-1]),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(widths[-1], 1)
        constrain(norm, self)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.blocks(images)  # (N, F, R/2, R/2) … (N, F·R/8, 4, 4), twice
        return features.sum((2, 3))  # (N, F·R/8)

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.head(features)  # (N, 1)
        return scores.flatten()  # (N,)


class ShrinkingBlock(nn.Module):
    """(N, in_channels, 2S, 2S) to (N, out_channels, S, S).

    The network's first block gets raw pixels: no ReLU on input.
    """

    def __init__(
        self, in_channels: int, out_channels: int, norm: parameters.Norm, *, first: bool = False
    ) -> None:
        super().__init__()
        hidden = out_channels if first else in_channels
        rectify = [] if first else [*batch_norm(norm, in_channels), nn.ReLU()]
        self.change = nn.Sequential(
            *rectify,
            nn.Conv2d(in_channels, hidden, 3, padding=1),
            *batch_norm(norm, hidden),
            nn.ReLU(inplace=True),
            ShrinkingConv2d(hidden, out_channels),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1))

    def forward(self, features: Tensor) -> Tensor:
        shrunk: Tensor = self.shortcut(features) + self.change(features)
        return shrunk


class LastBlock(nn.Module):
    """(N, F, S, S) to the same shape."""

    def __init__(self, width: int, norm: parameters.Norm) -> None:
        super().__init__()
        self.change = nn.Sequential(
            *batch_norm(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            *batch_norm(norm, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = features + self.change(features)
        return changed
