"""Features of images, for judging generators: what the Fréchet and the kernel distance compare.

A distance is comparable only with those in features of the same name and version. Only those in Inception's
are FID and KID; those of the network that comes with this package are `fd` and `kd`.
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
        """Of the weights."""

    @property
    def size(self) -> int:
        """F."""

    def of(self, images: Tensor) -> Tensor:
        """The features (N, F), float32 on the device, of images (N, C, R, R), float32 in [-1, 1], C 1 or 3.

        Those of an image are the same, bit for bit, whatever was asked with it.
        """

    def multiply_adds(self, resolution: int) -> int:
        """The cost of one image of this resolution, its scaling aside."""
