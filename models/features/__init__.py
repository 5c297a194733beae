"""Image features for judging generators, which the Fréchet and kernel distances compare.

Distances are comparable only within features of the same name and version. With Inception's features they are
FID and KID; with those of the network in this package they are called `fd` and `kd`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from contract.durable import Read
from contract.evaluation import FeaturesName
from contract.volume import Volume
from models.features import embedded, inception


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


@dataclass(frozen=True)
class Choice:
    """Features that a job can choose."""

    distance_names: tuple[str, str]
    """Of the Fréchet and the kernel distance."""
    judging_bytes: int
    """Memory for evaluations: the network and its activations, and the features of the reals. Fitted to the
    peaks measured in docs/training.md."""
    is_quick: bool
    """Whether an evaluation takes seconds, not minutes, on a CPU too."""
    multiply_adds: Callable[[int], int]
    """The cost of one image at a resolution, excluding its scaling."""
    require: Callable[[Volume], None]
    """Checks that the network is there: ServiceError `features_unavailable`."""
    load: Callable[[Volume, str, Read], Features]
    """Loads the network on a device. Raises as `require` does, and what the read of the volume raises."""


CHOICES: Mapping[FeaturesName, Choice] = {
    "embedded": Choice(
        distance_names=("fd", "kd"),
        judging_bytes=20 * 2**20,
        is_quick=True,
        multiply_adds=embedded.multiply_adds,
        require=lambda _: None,
        load=lambda _volume, device, _read: embedded.load(device),
    ),
    "inception": Choice(
        distance_names=("fid", "kid"),
        judging_bytes=800 * 2**20,
        is_quick=False,
        multiply_adds=lambda _: inception.MULTIPLY_ADDS,
        require=lambda volume: inception.require_file(volume.inception),
        load=lambda volume, device, read: read(
            lambda: inception.load(volume.inception, device), volume.inception
        ),
    ),
}
