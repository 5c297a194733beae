"""Weight initialisation: each tensor depends only on the seed and its own name, never on the machine."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from contract import priors as parameters
from models import priors
from models.latents import noise
from models.networks.norm import SpectralNorm
from models.priors import Prior


@dataclass(frozen=True)
class Start:
    """The initial distribution of a tensor: `centre` + `deviation` × a draw of unit variance."""

    centre: float = 0.0
    deviation: float = 0.0
    prior: Prior = field(default_factory=lambda: priors.build(parameters.Normal()))
    shape: tuple[int, ...] | None = None
    """The shape to draw, then broadcast to fill the tensor; None means the tensor's own shape."""


def initialise(
    network: nn.Module,
    seed: int,
    stream: str,
    start: Callable[[str, nn.Parameter], Start],
    show_life: Callable[[], None],
) -> None:
    """Draw every parameter from its `start` distribution and reset every norm.

    Calls `show_life` after each parameter: about 4 million numbers are drawn per second, and some networks
    have thousands of millions.
    """
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
        if isinstance(layer, SpectralNorm):
            _set(layer.direction, seed, f"init/{stream}/{name}.direction", Start(deviation=1.0))
    for name, parameter in network.named_parameters():
        _set(parameter, seed, f"init/{stream}/{name}", start(name, parameter))
        show_life()


def glorot(kernel: Tensor, gain: float) -> Start:
    """Uniform with deviation gain · √(2 / (inputs + outputs)) (Glorot and Bengio 2010, equation 16).

    A gain of √2 roughly preserves the scale of signal and gradient through a ReLU.
    """
    outputs, inputs, *sides = kernel.shape
    deviation = gain * math.sqrt(2 / ((inputs + outputs) * math.prod(sides)))
    return Start(0.0, deviation, priors.build(parameters.Uniform()))


def he(inputs: int) -> Start:
    """Normal; a sum over `inputs` rectified values keeps their scale (He et al. 2015, arXiv 1502.01852)."""
    return Start(0.0, math.sqrt(2 / inputs))


@torch.no_grad()
def _set(tensor: Tensor, seed: int, stream: str, start: Start) -> None:
    if start.deviation == 0:
        tensor.fill_(start.centre)
        return
    shape = start.shape or tensor.shape
    drawn = noise(seed, stream, 0, 1, math.prod(shape), start.prior)
    tensor.copy_(torch.from_numpy(drawn).view(shape) * start.deviation + start.centre)
