"""Image features for judging generators, which the Fréchet and kernel distances compare.

Distances are comparable only within features of the same name and version. With Inception's features they are
FID and KID; with those of the network in this package they are called `fd` and `kd`.
"""

from typing import Protocol

from torch import Tensor

from models.features.embedded import load

__all__ = ["Features", "load"]


class Features(Protocol):
    """A network on one device that turns images into features."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """The version of the weights."""

    @property
    def size(self) -> int:
        """The number of features, F."""

    def of(self, images: Tensor) -> Tensor:
        """The features (N, F), float32 on the device, of images (N, C, R, R), float32 in [-1, 1], C 1 or 3.

        An image's features are the same, bit for bit, whatever other images are passed with it.
        """

    def multiply_adds(self, resolution: int) -> int:
        """The cost of one image at this resolution, excluding its scaling."""
