"""The network families. Parameters in the contract, networks here: two files of one name, joined below."""

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
    """The networks of an architecture, in float32 on the CPU, their weights not yet set.

    They are then initialised from a seed or filled from a file: nobody pays for both.
    """
    pair = sketch(architecture, resolution, channels)
    return Networks(pair.generator.to_empty(device="cpu"), pair.discriminator.to_empty(device="cpu"))


def sketch(architecture: parameters.Pair, resolution: int, channels: int) -> Networks:
    """The networks without memory: names, shapes and types alone."""
    assert resolution in architecture.RESOLUTIONS
    with torch.device("meta"):  # layers initialise themselves from the global generator; here they cannot
        return NETWORKS[type(architecture)](architecture, resolution, channels)


__all__ = ["NETWORKS", "Networks", "build", "sketch"]
