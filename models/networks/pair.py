"""What every network family is made of: a generator, a discriminator and a way to begin."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn


def silent() -> None:
    """Told of nothing."""


class Network(nn.Module):
    """A network that knows how its weights begin."""

    def initialise(self, seed: int, show_life: Callable[[], None] = silent) -> None:
        """Set every parameter and buffer as a function of `seed`. `show_life` is called after each drawn."""
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
