"""DCGAN (Radford et al. 2016, arXiv 1511.06434): strided and transposed convolutions, batch norm, no pooling.

Deviations: layers that are not followed by batch norm have a bias, the discriminator returns logits, and its
batch norm can be omitted or replaced.
Letters: N batch, Z latent, F width, R resolution, C channels.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from contract import architectures as parameters
from models.networks.initialisation import Start
from models.networks.layers import FromPoint, ToPoint
from models.networks.norm import batch_norm, constrain
from models.networks.pair import Discriminator, Generator, Networks
from models.networks.strided import DoublingConv2d, HalvingConv2d
from models.networks.widths import doubled_widths

INITIAL_DEVIATION = 0.02  # of every weight, section 4 of the paper


def build(architecture: parameters.Dcgan, resolution: int, channels: int) -> Networks:
    generator = DcganGenerator(architecture, resolution, channels)
    return Networks(generator, DcganDiscriminator(architecture, resolution, channels))


def _start(name: str, parameter: nn.Parameter) -> Start:
    """Biases 0, kernels N(0, 0.02²), batch-norm gains N(1, 0.02²)."""
    if name.endswith("bias"):
        return Start()
    return Start(1.0 if parameter.ndim == 1 else 0.0, INITIAL_DEVIATION)


class DcganGenerator(Generator):
    """Turns a latent into 4×4 features; each layer then doubles their size and halves their number."""

    start = staticmethod(_start)

    def __init__(self, architecture: parameters.Dcgan, resolution: int, channels: int) -> None:
        super().__init__()
        self.latent_size = architecture.latent_size
        width, *wider = doubled_widths(architecture.generator_width, resolution)
        layers: list[nn.Module] = []
        in_channels = architecture.latent_size
        for out_channels in [*reversed(wider), width]:
            layers += [
                _grow(in_channels, out_channels, first=not layers),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
            in_channels = out_channels
        self.layers = nn.Sequential(*layers, DoublingConv2d(width, channels), nn.Tanh())

    def forward(self, latents: Tensor) -> Tensor:
        latents = latents[:, :, None, None]  # (N, Z, 1, 1)
        images: Tensor = self.layers(latents)  # (N, F·R/8, 4, 4) … (N, F, R/2, R/2), (N, C, R, R)
        return images


class DcganDiscriminator(Discriminator):
    """Mirrors the generator: each layer halves the size and doubles the number of features, down to 1×1."""

    start = staticmethod(_start)

    def __init__(self, architecture: parameters.Dcgan, resolution: int, channels: int) -> None:
        super().__init__()
        width, *wider = doubled_widths(architecture.discriminator_width, resolution)
        norm = architecture.norm
        layers: list[nn.Module] = [HalvingConv2d(channels, width), nn.LeakyReLU(0.2, inplace=True)]
        in_channels = width
        for out_channels in wider:
            halve = HalvingConv2d(in_channels, out_channels, bias=norm != "batch")
            layers += [halve, *batch_norm(norm, out_channels), nn.LeakyReLU(0.2, inplace=True)]
            in_channels = out_channels
        self.layers = nn.Sequential(*layers, ToPoint(in_channels, 1, 4))
        constrain(norm, self.layers)

    def scores_of_each(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        features = batches
        for layer in list(self.layers)[:-1]:
            if isinstance(layer, HalvingConv2d):
                features = layer.of_each(features)
            else:
                features = [layer(each) for each in features]
        return [self.score(each) for each in features]

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers[:-1](images)  # (N, F, R/2, R/2) … (N, F·R/8, 4, 4)
        return features

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.layers[-1](features)  # (N, 1, 1, 1)
        return scores.flatten()  # (N,)


def _grow(in_channels: int, out_channels: int, *, first: bool) -> nn.ConvTranspose2d:
    """The first layer grows 1×1 to 4×4; the others double the size."""
    if first:
        return FromPoint(in_channels, out_channels, 4)
    return DoublingConv2d(in_channels, out_channels, bias=False)
