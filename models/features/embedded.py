"""The features shipped with this package: no download, and small enough to judge a run on a CPU.

Letters: N batch, C channels, R resolution, F features.
"""

import hashlib
import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from models.features import network
from models.features.batching import in_batches
from models.features.network import FEATURES, FeatureNetwork

NAME = "dcgan-features"
SMALLEST, LARGEST = 32, 64  # the sides that the network was trained on
BATCH = 64


class Embedded:
    """The network on one device."""

    name = NAME
    size = FEATURES

    def __init__(self, trained: FeatureNetwork, device: str) -> None:
        self.version = digest(trained.state_dict())
        self._device = device
        self._network = trained.eval().requires_grad_(requires_grad=False)
        self._network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def of(self, images: Tensor) -> Tensor:
        """The features (N, F), float32 on the device, of images (N, C, R, R), float32 in [-1, 1], C 1 or 3.

        An image's are the same, bit for bit, whatever other images are passed with it.
        """
        return in_batches(self._of_batch, sized(images.to(self._device)), BATCH)

    def _of_batch(self, images: Tensor) -> Tensor:
        inputs = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        found: Tensor = self._network(inputs)
        return found


def load(device: str) -> Embedded:
    """Load the features on a device. They do not depend on any other setting.

    Raises:
        RuntimeError: the file's content does not match the version in its header.
    """
    with resources.as_file(resources.files("models.features") / "features.safetensors") as path:
        return Embedded(_read(path), device)


def multiply_adds(resolution: int) -> int:
    """The cost of one image at this resolution, excluding its scaling."""
    seen = sized(torch.empty(1, 1, resolution, resolution, device="meta"))
    return network.multiply_adds(seen.shape[-1])


def sized(images: Tensor) -> Tensor:
    """Scale the images to a size the network was trained on, by averaging or repeating whole pixels.

    Above 64 px, it averages squares of k × k pixels, with the smallest k that gives 64 px or less, and drops
    the pixels left over at the right and bottom. Below 32 px, it repeats each pixel.
    """
    side = images.shape[-1]
    if side > LARGEST:
        return functional.avg_pool2d(images, -(-side // LARGEST))
    times = -(-SMALLEST // side)
    return images.repeat_interleave(times, 2).repeat_interleave(times, 3) if times > 1 else images


def digest(tensors: dict[str, Tensor]) -> str:
    """The version of a network: 16 hexadecimal digits of the SHA-256 of its names and values."""
    hashed = hashlib.sha256()
    for name in sorted(tensors):
        hashed.update(name.encode())
        hashed.update(tensors[name].detach().cpu().contiguous().numpy().astype("<f4").tobytes())
    return hashed.hexdigest()[:16]


def _read(path: Path) -> FeatureNetwork:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["features"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    if digest(tensors) != header["version"]:
        raise RuntimeError(f"{path.name} holds version {digest(tensors)}, not {header['version']}")
    with torch.device("meta"):
        trained = FeatureNetwork()
    trained.load_state_dict(tensors, assign=True)
    return trained
