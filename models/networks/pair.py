"""The base classes of every network family: a generator and a discriminator that initialise themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from models.networks.initialisation import Start, initialise
from models.silence import silent


class Network(nn.Module):
    """A network that can initialise its weights."""

    stream: str
    """Of the random numbers that its weights are drawn from."""
    start: Callable[[str, nn.Parameter], Start]
    """The initial distribution of a parameter, given its name."""

    def initialise(self, seed: int, show_life: Callable[[], None] = silent) -> None:
        """Set every parameter and buffer as a function of `seed`. Calls `show_life` after each parameter."""
        initialise(self, seed, self.stream, self.start, show_life)


class Generator(Network):
    """Latents (N, Z) to images (N, C, R, R) in [-1, 1]."""

    stream = "generator"
    latent_size: int

    def forward(self, latents: Tensor) -> Tensor:
        raise NotImplementedError


class Discriminator(Network):
    """Images (N, C, R, R) in [-1, 1] to scores (N,), as logits."""

    stream = "discriminator"

    def forward(self, images: Tensor) -> Tensor:
        return self.score(self.features(images))

    def scores_of_each(self, batches: Sequence[Tensor]) -> Sequence[Tensor]:
        """The scores (N,) of several batches of images, with batch norm for each alone.

        Networks may do this faster than one batch after the other.
        """
        return [self(images) for images in batches]

    def features(self, images: Tensor) -> Tensor:
        """The input of the last layer, (N, …)."""
        raise NotImplementedError

    def score(self, features: Tensor) -> Tensor:
        """Apply the last layer: scores (N,) of features (N, …)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Networks:
    """The two players."""

    generator: Generator
    discriminator: Discriminator
