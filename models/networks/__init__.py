"""The network families. Parameters in the contract, networks here: two files of one name, joined below."""

from contract import architectures as parameters
from models.networks import dcgan
from models.networks.pair import Networks

NETWORKS = {parameters.Dcgan: dcgan.build}


def build(architecture: parameters.Architecture, resolution: int, channels: int) -> Networks:
    """The networks of an architecture, in float32 on the CPU, their weights not yet set.

    They are then initialised from a seed or filled from a file: nobody pays for both.
    """
    return NETWORKS[type(architecture)](architecture, resolution, channels)


__all__ = ["NETWORKS", "Networks", "build"]
