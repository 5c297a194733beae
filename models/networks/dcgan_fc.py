"""The article's networks: one fully connected layer and four convolutions each, LeakyReLU, no batch norm.

The generator's transposed convolutions are 2×2 with stride 2, so they do not overlap; the 3×3 convolution
after each smooths the seams. The four taps of a transposed kernel start out equal, which makes it nearest
upsampling (Aitken et al. 2017, arXiv 1707.02937). The discriminator uses max pooling: with average pooling it
barely sees a fine grid, and the generator produced one after 10,000 images of Fashion-MNIST. Without batch
norm nothing else preserves the scale of the signal, so kernels are initialised as in He et al. 2015.
Letters: N batch, Z latent, F width, R resolution, C channels.
"""

from dataclasses import replace

from torch import Tensor, nn

from contract import architectures as parameters
from models.networks.initialisation import Start, he
from models.networks.norm import batch_norm, constrain
from models.networks.pair import Discriminator, Generator, Networks

_DOUBLINGS = (1, 2, 4, 8)  # multiples of the discriminator's width, by layer


def build(architecture: parameters.DcganFc, resolution: int, channels: int) -> Networks:
    generator = DcganFcGenerator(architecture, resolution, channels)
    return Networks(generator, DcganFcDiscriminator(architecture, resolution, channels))


def _start(name: str, parameter: nn.Parameter) -> Start:
    """Biases 0, batch-norm gains 1, kernels with He's standard deviation."""
    if name.endswith("bias"):
        return Start()
    if parameter.ndim == 1:
        return Start(1.0)
    in_channels, out_channels, *sides = parameter.shape  # swapped in all but transposed kernels
    if sides == [2, 2]:
        return replace(he(in_channels), shape=(in_channels, out_channels, 1, 1))
    return he(parameter[0].numel())


class DcganFcGenerator(Generator):
    """Turns a latent into features at a quarter of the resolution and doubles their size twice."""

    start = staticmethod(_start)

    def __init__(self, architecture: parameters.DcganFc, resolution: int, channels: int) -> None:
        super().__init__()
        self.latent_size = architecture.latent_size
        width, side = architecture.generator_width, resolution // 4
        self.layers = nn.Sequential(
            nn.Linear(architecture.latent_size, 2 * width * side * side),
            nn.Unflatten(1, (2 * width, side, side)),
            nn.LeakyReLU(0.2, inplace=True),  # (N, 2F, R/4, R/4)
            nn.ConvTranspose2d(2 * width, 2 * width, 2, 2),
            nn.LeakyReLU(0.2, inplace=True),  # (N, 2F, R/2, R/2)
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),  # (N, F, R/2, R/2)
            nn.ConvTranspose2d(width, width, 2, 2),
            nn.LeakyReLU(0.2, inplace=True),  # (N, F, R, R)
            nn.Conv2d(width, channels, 3, padding=1),
            nn.Tanh(),
        )

    def forward(self, latents: Tensor) -> Tensor:
        images: Tensor = self.layers(latents)  # (N, C, R, R)
        return images


class DcganFcDiscriminator(Discriminator):
    """Four blocks of convolution, LeakyReLU and 2×2 pooling, then a linear layer."""

    start = staticmethod(_start)

    def __init__(self, architecture: parameters.DcganFc, resolution: int, channels: int) -> None:
        super().__init__()
        norm = architecture.norm
        layers: list[nn.Module] = []
        in_channels = channels
        for doubling in _DOUBLINGS:
            out_channels = doubling * architecture.discriminator_width
            layers += [nn.Conv2d(in_channels, out_channels, 3, padding=1), *batch_norm(norm, out_channels)]
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.MaxPool2d(2)]
            in_channels = out_channels
        side = resolution // 16
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(in_channels * side**2, 1))
        constrain(norm, self.layers)

    def features(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers[:-1](images)  # (N, 8F·(R/16)²)
        return features

    def score(self, features: Tensor) -> Tensor:
        scores: Tensor = self.layers[-1](features)  # (N, 1)
        return scores.flatten()  # (N,)
