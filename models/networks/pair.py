"""What every network family is made of: a generator, a discriminator and a way to begin."""

from dataclasses import dataclass

from torch import Tensor, nn


class Network(nn.Module):
    """A network that knows how its weights begin."""

    def initialise(self, seed: int) -> None:
        """Set every parameter and buffer as a function of `seed`."""
        raise NotImplementedError


class Generator(Network):
    """Latents (N, Z) to images (N, C, R, R) in [-1, 1]."""

    latent_size: int

    def forward(self, latents: Tensor) -> Tensor:
        raise NotImplementedError


class Discriminator(Network):
    """Images (N, C, R, R) in [-1, 1] to scores (N,), as logits."""

    def forward(self, images: Tensor) -> Tensor:
        return self.score(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the score is taken from: (N, …), the input of the last layer."""
        raise NotImplementedError

    def score(self, features: Tensor) -> Tensor:
        """The last layer: scores (N,) of features (N, …)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Networks:
    """The two players."""

    generator: Generator
    discriminator: Discriminator
