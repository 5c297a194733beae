"""A generator made for inference: batch norm folded into kernels, laid out and cast for the device.

Which layout and precision is fastest is a table, measured by `benchmarks/inference.py` and never by the
process that renders: the same machine always chooses the same.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.environment import Layout, NumericEnvironment, Precision, detect
from models.networks.pair import Generator
from models.networks.resampling import GrowingConv2d, doubles, subpixel

_FEW_CHANNELS = 4
_CAST = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Plan:
    """How one class of devices renders fastest."""

    precision: Precision
    layout: Layout
    smallest_bucket: int
    largest_bucket: int
    """The batch from which a larger one gains nothing. Both are powers of two."""
    most_padding: float
    """The share of a batch up to which filling it up is quicker than two smaller ones."""
    rotations: int
    """How often a loaded generator is tried with every image at yet another place of the batch."""


PLANS: Mapping[tuple[Literal["cpu", "cuda"], Precision], Plan] = {
    ("cpu", "bfloat16"): Plan("bfloat16", "channels_last", 1, 64, 1 / 8, 0),
    ("cpu", "float32"): Plan("float32", "channels_last", 1, 64, 1 / 8, 0),
    ("cuda", "bfloat16"): Plan("bfloat16", "channels_last", 64, 64, 1.0, 15),
    ("cuda", "float32"): Plan("float32", "contiguous", 64, 64, 1.0, 15),  # measured beside bfloat16 alone
}
"""By device, and by the fastest precision that it has units for (docs/serving.md has the figures).

A GPU has one bucket. Its kernels for batches of other sizes add up in other orders, and bfloat16 hides that
from probes: of buckets that had agreed on all of theirs, one gave another image for one seed in hundreds.
"""


def plan(environment: NumericEnvironment) -> Plan:
    """The plan of a rendering environment, in whichever precision it renders."""
    return PLANS[environment.device, environment.precision]


def rendering_environment(device: Literal["auto", "cpu", "cuda"], threads: int) -> NumericEnvironment:
    """The environment in which this process renders what nobody asked another precision for.

    Raises:
        RuntimeError: "cuda" was asked for, and there is none.
    """
    able = detect(device, threads, "auto")
    fastest = plan(able)
    return able.model_copy(update={"precision": fastest.precision, "layout": fastest.layout})


def for_inference(
    generator: Generator, environment: NumericEnvironment, precision: Precision = "float32"
) -> Generator:
    """A copy in eval mode on the environment's device, without gradients and, where it can be, batch norm.

    In eval mode batch norm is an affine map of each channel, and so is the end of a convolution: one product
    takes the place of the two. Where a ReLU or a sum comes before it, as in residual blocks, batch norm
    stays, in float32. In bfloat16 the weights themselves are rounded, once and last; images then come in it.
    """
    made = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
    for layers in [module for module in made.modules() if isinstance(module, nn.Sequential)]:
        folded = _folded(layers)
        refill(layers, _shuffled(folded) if precision == "bfloat16" else folded)
    environment.place(made)
    if precision == "bfloat16":
        for module in made.modules():
            if isinstance(module, _CAST):
                module.to(torch.bfloat16)
    return made


def _folded(layers: nn.Sequential) -> list[nn.Module]:
    """Its layers, every batch norm that has a convolution right before it folded into that."""
    folded: list[nn.Module] = []
    for layer in layers:
        before = folded[-1] if folded else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.ConvTranspose2d):
            folded[-1] = fuse_conv_bn_eval(before, layer, transpose=True)
        elif isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            folded[-1] = fuse_conv_bn_eval(before, layer)
        else:
            folded.append(layer.strided() if isinstance(layer, GrowingConv2d) else layer)
    return folded


def _shuffled(layers: Iterable[nn.Module]) -> Iterable[nn.Module]:
    """Convolutions to a few channels in the form that is faster for those.

    At 32 px 11 % of the whole; in float32 it is less, and a batch of one would come out differently.
    """
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d) and layer.out_channels <= _FEW_CHANNELS and doubles(layer):
            yield from subpixel(layer)
        else:
            yield layer


def refill(layers: nn.Sequential, others: Iterable[nn.Module]) -> None:
    """Put these layers in the place of its own."""
    for name in list(layers._modules):  # noqa: SLF001 - a Sequential has no public way to be emptied
        del layers._modules[name]  # noqa: SLF001
    layers.extend(others)
