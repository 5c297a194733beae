"""Prepares a generator for inference: folds batch norm into kernels, sets layout and precision by device.

The fastest layout and precision come from a table, measured by `benchmarks/inference.py` and never by the
process that renders, so the same machine always makes the same choice.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from contract.devices import Device, DeviceChoice, Precision
from models.environment import Layout, NumericEnvironment, detect
from models.networks.pair import Generator
from models.networks.resampling import GrowingConv2d, doubles, subpixel

_FEW_CHANNELS = 4
_CAST = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


@dataclass(frozen=True)
class Plan:
    """The fastest way to render on one class of devices."""

    precision: Precision
    layout: Layout
    smallest_bucket: int
    largest_bucket: int
    """The batch beyond which larger ones gain nothing. Both are powers of two."""
    most_padding: float
    """The largest share of padding at which one batch is faster than two smaller ones."""
    rotations: int
    """How many further times a loaded generator is probed with every image moved within the batch."""
    probes_at_32_px: int
    """On how many images smaller buckets are compared with the largest, at least; on fewer larger ones."""


PLANS: Mapping[tuple[Device, Precision], Plan] = {
    ("cpu", "bfloat16"): Plan("bfloat16", "channels_last", 1, 64, 1 / 8, 0, 64),
    ("cpu", "float32"): Plan("float32", "channels_last", 1, 64, 1 / 8, 0, 8),
    ("cuda", "bfloat16"): Plan("bfloat16", "channels_last", 64, 64, 1.0, 15, 64),
    ("cuda", "float32"): Plan("float32", "contiguous", 64, 64, 1.0, 15, 64),  # measured only next to bfloat16
}
"""By device, and by the fastest precision it supports in hardware (docs/serving.md has the figures).

In bfloat16 a different order of summation often leaves no trace: oneDNN's kernels for AVX-512 with and
without bfloat16 units give the same bits in most of dcgan's images at 32 px, in a quarter at 64 and in one of
a hundred at 128. In float32 every image shows it.

A GPU has one bucket. Its kernels sum in a different order for each batch size, and bfloat16 hides that from
probes: one bucket that had agreed with the others on all probes gave a different image for one seed in
hundreds.
"""


def plan(environment: NumericEnvironment) -> Plan:
    """The plan of a rendering environment, for its device and precision."""
    return PLANS[environment.device, environment.precision]


def rendering_environment(device: DeviceChoice, threads: int) -> NumericEnvironment:
    """The environment in which this process renders unless a request chooses another precision.

    Raises:
        RuntimeError: "cuda" was requested but is not available.
    """
    able = detect(device, threads, "auto")
    fastest = plan(able)
    return able.model_copy(update={"precision": fastest.precision, "layout": fastest.layout})


def for_inference(
    generator: Generator, environment: NumericEnvironment, precision: Precision = "float32"
) -> Generator:
    """A copy in eval mode on the environment's device, without gradients and mostly without batch norm.

    In eval mode batch norm is an affine map of each channel, so it can be folded into a convolution before
    it. After a ReLU or a sum, as in residual blocks, batch norm stays, in float32. In bfloat16 the weights
    themselves are rounded, once and last, and images are returned in bfloat16.
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
    """Its layers, with every batch norm that directly follows a convolution folded into it."""
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
    """Replace convolutions to a few channels by the form that is faster for those.

    Saves 14 % of the total at 32 px. In float32 it saves less, and a batch of one would differ from others.
    """
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d) and layer.out_channels <= _FEW_CHANNELS and doubles(layer):
            yield from subpixel(layer)
        else:
            yield layer


def refill(layers: nn.Sequential, others: Iterable[nn.Module]) -> None:
    """Replace the layers of a Sequential. In place."""
    for name in list(layers._modules):  # noqa: SLF001 - a Sequential has no public way to clear it
        del layers._modules[name]  # noqa: SLF001
    layers.extend(others)
