"""Packs weights once into oneDNN's memory order and fuses each layer with the activation that follows.

Called from PyTorch's layers, oneDNN reorders a layer's weights in every forward pass: at 32 px this takes a
third of the time of a single image, a twelfth for a batch of sixteen. In bfloat16 a layer from a point is a
matrix product, for which oneDNN takes a third of its time for the transposed convolution. The operators are
those that torch.compile generates (torch/_inductor/fx_passes/mkldnn_fusion.py), used here without a compiler.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.inference import refill
from models.networks.layers import FromPoint
from models.networks.pair import Generator

_Packable = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
_OPERATORS: Mapping[type[nn.Module], tuple[str, str]] = {
    nn.Conv2d: ("_reorder_convolution_weight", "_convolution_pointwise"),
    nn.ConvTranspose2d: ("_reorder_convolution_transpose_weight", "_convolution_transpose_pointwise"),
    nn.Linear: ("_reorder_linear_weight", "_linear_pointwise"),
}
"""By kind of layer, the operators that pack its weights and that compute with them."""
_SETTINGS: Mapping[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: ("padding", "stride", "dilation", "groups"),
    nn.ConvTranspose2d: ("padding", "output_padding", "stride", "dilation", "groups"),
    nn.Linear: (),
}
"""The further attributes of a layer that both operators take, in this order."""
_HAS_BFLOAT16, _HAS_ARMS_KERNELS = "_is_mkldnn_bf16_supported", "_is_mkldnn_acl_supported"
_NO_ACTIVATION: tuple[str, tuple[float, ...]] = ("none", ())


def pack(generator: Generator) -> Generator:
    """Pack the layers of a generator prepared for inference on a CPU. In place; does nothing without oneDNN.

    Linear layers in float32 would gain nothing and stay, as do all bfloat16 layers without hardware for it.
    """
    if can_pack():
        for layers in [module for module in generator.modules() if isinstance(module, nn.Sequential)]:
            refill(layers, _packed(list(layers)))
    return generator


def can_pack() -> bool:
    """Whether torch has oneDNN and these operators. Arm's own kernels gain nothing from them."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    needed = [name for names in _OPERATORS.values() for name in names] + [_HAS_BFLOAT16, _HAS_ARMS_KERNELS]
    return all(hasattr(torch.ops.mkldnn, name) for name in needed) and not _operator(_HAS_ARMS_KERNELS)()


def _operator(name: str) -> Callable[..., Any]:
    operator: Callable[..., Any] = getattr(torch.ops.mkldnn, name)
    return operator


def _packed(layers: Sequence[nn.Module]) -> Iterator[nn.Module]:
    followers: Sequence[nn.Module | None] = [*layers[1:], None]
    joined = False
    for layer, follower in zip(layers, followers, strict=True):
        if joined:
            joined = False
        elif isinstance(layer, _Packable) and _gains(layer):
            activation = _activation(follower)
            joined = activation != _NO_ACTIVATION
            yield from _replacements(layer, activation)
        else:
            yield layer


def _gains(layer: _Packable) -> bool:
    if layer.weight.dtype == torch.bfloat16:
        return bool(_operator(_HAS_BFLOAT16)())
    return not isinstance(layer, nn.Linear)


def _replacements(layer: _Packable, activation: tuple[str, tuple[float, ...]]) -> Sequence[nn.Module]:
    """What takes the place of a layer and of its activation."""
    if isinstance(layer, FromPoint) and layer.weight.dtype == torch.bfloat16:
        flat, linear, square = layer.as_linear()
        return [flat, _Packed(linear, *activation), square]
    return [_Packed(layer, *activation)]


def _activation(layer: nn.Module | None) -> tuple[str, tuple[float, ...]]:
    """oneDNN's name for the activation, and its parameters."""
    match layer:
        case nn.ReLU():
            return "relu", ()
        case nn.LeakyReLU(negative_slope=slope):
            return "leaky_relu", (slope,)
        case _:
            return _NO_ACTIVATION


class _Packed(nn.Module):
    """One packed layer, (N, …) to (N, …) as before. In bfloat16 it rounds once, after the activation."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: _Packable, activation: str, parameters: tuple[float, ...]) -> None:
        super().__init__()
        kind = next(kind for kind in _OPERATORS if isinstance(layer, kind))
        pack_weight, compute = map(_operator, _OPERATORS[kind])
        settings = [getattr(layer, name) for name in _SETTINGS[kind]]
        self._compute = compute
        self._settings = (*settings, activation, list(parameters), "")
        self.register_buffer("weight", pack_weight(layer.weight.detach(), *settings))
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach())

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self._compute(features, self.weight, self.bias, *self._settings)
        return result
