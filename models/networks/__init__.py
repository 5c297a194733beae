"""The network families: parameters live in `contract`, networks here, in files of the same name."""

from collections.abc import Callable, Mapping

import torch

from contract import architectures as parameters
from models.networks import dcgan, dcgan_fc, resnet
from models.networks.pair import Networks

NETWORKS: Mapping[type[parameters.Pair], Callable[..., Networks]] = {
    parameters.Dcgan: dcgan.build,
    parameters.DcganFc: dcgan_fc.build,
    parameters.Resnet: resnet.build,
}


def build(architecture: parameters.Pair, resolution: int, channels: int) -> Networks:
    """Build the networks of an architecture in float32 on the CPU, with uninitialised weights.

    Callers initialise them from a seed or load them from a file, and never pay for both.
    """
    pair = sketch(architecture, resolution, channels)
    return Networks(pair.generator.to_empty(device="cpu"), pair.discriminator.to_empty(device="cpu"))


def sketch(architecture: parameters.Pair, resolution: int, channels: int) -> Networks:
    """Build the networks on the meta device: names, shapes and dtypes, but no memory."""
    assert resolution in architecture.RESOLUTIONS
    with torch.device("meta"):  # elsewhere layers would initialise themselves from the global generator
        return NETWORKS[type(architecture)](architecture, resolution, channels)


__all__ = ["NETWORKS", "Networks", "build", "sketch"]
