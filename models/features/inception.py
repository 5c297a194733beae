"""Inception's features, for the true FID and KID; available if its weights are on the volume.

The network is torch-fidelity's port of the one used by Heusel et al. 2017 (arXiv 1706.08500), including its
scaling to 299 px, with the weights released with that port. An image costs about 750 times as much as the
embedded features at 32 px, so use this on a GPU, or for a final evaluation.

Letters: N batch, C channels, R resolution, F features.
"""

import hashlib
import importlib
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from contract.errors import ErrorCode, ServiceError
from contract.volume import INCEPTION_WEIGHTS as WEIGHTS
from models.features.batching import in_batches
from models.pixels import to_pixels

DIGEST = "6726825d"  # the first digits of that file's SHA-256
FEATURES = 2048
MULTIPLY_ADDS = 5_711_168_096
"""The cost of one image, the same at every resolution because all are scaled to 299 px."""
BATCH = 32


class Inception:
    """The network on one device. `version` is that of the weights file."""

    name = "inception-v3-2015-12-05"
    size = FEATURES

    def __init__(self, network: nn.Module, version: str, device: str) -> None:
        self.version = version
        self._device = device
        self._network = network.eval().requires_grad_(requires_grad=False).to(device)

    @torch.inference_mode()
    def of(self, images: Tensor) -> Tensor:
        """The features (N, F), float32 on the device, of images (N, C, R, R), float32 in [-1, 1], C 1 or 3.

        The images are first rounded to pixels. An image's features are the same, bit for bit, whatever other
        images are passed with it.
        """
        return in_batches(self._of_batch, images.to(self._device), BATCH)

    def _of_batch(self, images: Tensor) -> Tensor:
        found: Tensor = self._network(to_pixels(images).expand(-1, 3, -1, -1))[0]
        return found


def load(weights: Path, device: str) -> Inception:
    """Load Inception with the weights in a file.

    Raises:
        ServiceError: `features_unavailable`: the file or torch-fidelity is missing, or it is the wrong file.
    """
    require_file(weights)
    content = weights.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(DIGEST):
        raise ServiceError(
            ErrorCode.FEATURES_UNAVAILABLE,
            f"{weights} is not the {WEIGHTS} that FID is defined by: its SHA-256 begins with "
            f"{found[: len(DIGEST)]}, not {DIGEST}. Download it again.",
        )
    return Inception(_network(content), found[:16], device)


def require_file(weights: Path) -> None:
    """Check that the weights file exists.

    Raises:
        ServiceError: `features_unavailable`.
    """
    if not weights.is_file():
        raise ServiceError(
            ErrorCode.FEATURES_UNAVAILABLE,
            f"{weights} does not exist. Download {WEIGHTS} from torch-fidelity's release v0.2.0 to that "
            "path, or choose the embedded features.",
        )


def _network(content: bytes) -> nn.Module:
    """torch-fidelity's network with the weights from a file's content."""
    try:
        package = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except (ImportError, RuntimeError) as error:  # a torchvision built for another torch raises the latter
        raise ServiceError(
            ErrorCode.FEATURES_UNAVAILABLE,
            f"Inception's features need torch-fidelity, and it cannot be imported ({error}): "
            "pip install '.[fid]' in a checkout, with the torchvision that matches your torch, or choose the "
            "embedded features.",
        ) from error
    # torch-fidelity unpickles anything in the file, so first check that it contains only tensors.
    torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network: nn.Module = package.FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=io.BytesIO(content)
    )
    return network
