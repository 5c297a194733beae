"""Weights laid out once, in the order that oneDNN computes in, with the activation that follows joined on.

As PyTorch's layers call it, oneDNN puts the weights of a layer into its own order at every forward pass:
at 32 px a third of the time of a single image, a twelfth of a batch of sixteen. These are the operators
that torch.compile writes such layers with (torch/_inductor/fx_passes/mkldnn_fusion.py), without a compiler.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.inference import refill
from models.networks.pair import Generator

_Packable = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
_OPERATORS = (
    "_reorder_convolution_weight",
    "_reorder_convolution_transpose_weight",
    "_reorder_linear_weight",
    "_is_mkldnn_bf16_supported",
    "_is_mkldnn_acl_supported",
)


def pack(generator: Generator) -> Generator:
    """The same generator, made for inference on a CPU, with its layers packed; without oneDNN as it was.

    A matrix product in float32 would gain nothing, and stays; so does all in bfloat16 without units for it.
    """
    if _can_pack():
        for layers in [module for module in generator.modules() if isinstance(module, nn.Sequential)]:
            refill(layers, _packed(list(layers)))
    return generator


def _can_pack() -> bool:
    is_there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not is_there or not all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS):
        return False
    return not torch.ops.mkldnn._is_mkldnn_acl_supported()  # noqa: SLF001 — Arm's own kernels gain nothing


def _packed(layers: Sequence[nn.Module]) -> Iterator[nn.Module]:
    followers: Sequence[nn.Module | None] = [*layers[1:], None]
    joined = False
    for layer, follower in zip(layers, followers, strict=True):
        if joined:
            joined = False
        elif isinstance(layer, _Packable) and _gains(layer):
            activation = _activation(follower)
            joined = activation != _NONE
            yield _Packed(layer, *activation)
        else:
            yield layer


def _gains(layer: _Packable) -> bool:
    if layer.weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001
    return not isinstance(layer, nn.Linear)


_NONE: tuple[str, tuple[float, ...]] = ("none", ())


def _activation(layer: nn.Module | None) -> tuple[str, tuple[float, ...]]:
    """What oneDNN calls it, and its parameters."""
    match layer:
        case nn.ReLU():
            return "relu", ()
        case nn.LeakyReLU(negative_slope=slope):
            return "leaky_relu", (slope,)
        case _:
            return _NONE


class _Packed(nn.Module):
    """One layer, (N, …) to (N, …) as before. In bfloat16 it rounds once, after the activation."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: _Packable, activation: str, parameters: tuple[float, ...]) -> None:
        super().__init__()
        ops, kernel = torch.ops.mkldnn, layer.weight.detach()
        where: tuple[Any, ...]
        if isinstance(layer, nn.ConvTranspose2d):
            where = (layer.padding, layer.output_padding, layer.stride, layer.dilation, layer.groups)
            weight = ops._reorder_convolution_transpose_weight(kernel, *where)  # noqa: SLF001
            self._compute = ops._convolution_transpose_pointwise  # noqa: SLF001
        elif isinstance(layer, nn.Conv2d):
            where = (layer.padding, layer.stride, layer.dilation, layer.groups)
            weight = ops._reorder_convolution_weight(kernel, *where)  # noqa: SLF001
            self._compute = ops._convolution_pointwise  # noqa: SLF001
        else:
            where = ()
            weight = ops._reorder_linear_weight(kernel)  # noqa: SLF001
            self._compute = ops._linear_pointwise  # noqa: SLF001
        self._settings = (*where, activation, list(parameters), "")
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self._compute(features, self.weight, self.bias, *self._settings)
        return result
