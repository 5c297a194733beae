"""4×4 convolutions of stride 2 with fewer multiplications (Lavin and Gray 2016, arXiv 1509.09308).

Such a convolution is the sum of four of stride 1, between the even or odd rows and columns of the image and
those of the kernel, which then has 2×2 taps. Winograd's F(W, 2) computes W neighbouring outputs of two taps
in W + 1 multiplications instead of 2W: it takes inputs, taps and outputs for coefficients of polynomials, and
multiplies their values at W points and at infinity. A tile of 2×2 outputs takes 9 multiplications instead of
16, one of 4×4 outputs 25 instead of 64. Each of the 9 or 25 is, for all tiles together, one matrix product,
which sums over the four parities and the channels. What surrounds these are linear maps (`tiling.py`). The
transposed convolution goes through their adjoints.

In float32 the results differ from a convolution's in the last digits. In bfloat16 the values at the points
are rounded, too: results are 0.4 to 0.6 % off with tiles of 2×2, and 1 to 1.2 % with those of 4×4 (from 0.5 %
in the middle of a tile to 2.5 % in its corners), instead of 0.2 % (norm of the deviation over that of the
result). Most of this comes from the filters, and is the same for every image.
"""

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import Node
from torch.overrides import handle_torch_function, has_torch_function

from models.networks.tiling import Tiling

Convolution = Callable[[Sequence[Tensor], Tensor], tuple[Tensor, ...]]
"""Of several batches by one kernel, multiplied together: in larger products and with one set of filters."""


def _in_memory_order(convolution: Convolution) -> Convolution:
    """Wrap a function of tensors in memory order, so that it behaves like a convolution of torch.

    It follows autocast, and modes of torch's functions see it, as `models/rehearsal.py` needs.
    """

    @wraps(convolution)
    def wrapped(batches: Sequence[Tensor], kernel: Tensor) -> tuple[Tensor, ...]:
        if has_torch_function((*batches, kernel)):
            seen: tuple[Tensor, ...] = handle_torch_function(wrapped, (*batches, kernel), batches, kernel)
            return seen
        given = [_ordered(_cast(batch)) for batch in batches]
        return tuple(mapped.permute(0, 3, 1, 2) for mapped in convolution(given, _ordered(kernel)))

    return wrapped


def _ordered(tensor: Tensor) -> Tensor:
    """The axes of a tensor in the memory order of channels_last."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def _cast(features: Tensor) -> Tensor:
    """The features in the precision of autocast, if that is on."""
    device = features.device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return features
    return features.to(torch.get_autocast_dtype(device))


@_in_memory_order
def halve(images: Sequence[Tensor], kernel: Tensor) -> tuple[Tensor, ...]:
    """`conv2d` of stride 2 and padding 1: (N, C, 2S, 2S) and (F, C, 4, 4) to (N, F, S, S), S even.

    For each of several batches of one size S. Differentiable any number of times.
    """
    tiling = Tiling.of(images[0].shape[1] // 2, tuple(map(len, images)), len(kernel))
    tiles = _join(tiling.tiles, tiling.from_tiles, images)
    filters = _filters(kernel, tiling, images[0].dtype)
    return _part(tiling.from_sums, tiling.sums, _product(tiles, filters))


@_in_memory_order
def double(features: Sequence[Tensor], kernel: Tensor) -> tuple[Tensor, ...]:
    """`conv_transpose2d` of stride 2 and padding 1: (N, F, S, S) and (F, C, 4, 4) to (N, C, 2S, 2S), S even.

    For each of several batches of one size S. Differentiable any number of times.
    """
    tiling = Tiling.of(features[0].shape[1], tuple(map(len, features)), len(kernel))
    sums = _join(tiling.sums, tiling.from_sums, features)
    filters = _filters(kernel, tiling, features[0].dtype)
    return _part(tiling.from_tiles, tiling.tiles, sums @ filters)


Joining = Callable[..., Tensor]
"""A linear map of several tensors to one."""
Parting = Callable[[Tensor], tuple[Tensor, ...]]
"""The adjoint of one."""


def _filters(kernel: Tensor, tiling: Tiling, dtype: torch.dtype) -> Tensor:
    """The filters in the precision of the features, and their gradient in that of the kernel."""
    kernels = kernel.dtype

    def back(filters: Tensor) -> tuple[Tensor]:
        return (tiling.from_filters(filters, kernels),)

    return _join(partial(tiling.filters, dtype=dtype), back, [kernel])


def _join(join: Joining, part: Parting, given: Sequence[Tensor]) -> Tensor:
    joined: Tensor = _Joined.apply(join, part, *given)  # type: ignore[no-untyped-call]
    return joined


def _part(part: Parting, join: Joining, given: Tensor) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = _Parted.apply(part, join, given)  # type: ignore[no-untyped-call]
    return parts


class _Joined(Function):
    """A linear map, whose gradient is its adjoint."""

    @staticmethod
    def forward(ctx: Any, join: Joining, part: Parting, *given: Tensor) -> Tensor:
        ctx.join, ctx.part = join, part
        return join(*given)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *_part(ctx.part, ctx.join, gradient)


class _Parted(Function):
    """The adjoint of one."""

    @staticmethod
    def forward(ctx: Any, part: Parting, join: Joining, given: Tensor) -> tuple[Tensor, ...]:
        ctx.part, ctx.join = part, join
        return part(given)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, _join(ctx.join, ctx.part, gradients)


def _product(tiles: Tensor, filters: Tensor) -> Tensor:
    product: Tensor = _Product.apply(tiles, filters)  # type: ignore[no-untyped-call]
    return product


class _Product(Function):
    """(P, T, 4C) times the transposes of (P, F, 4C).

    The gradient of the filters has their order in memory. Torch's own would be (P, 4C, F) there, and slow to
    read for what follows.
    """

    @staticmethod
    def forward(ctx: Any, tiles: Tensor, filters: Tensor) -> Tensor:
        of_tiles, of_filters = ctx.needs_input_grad
        ctx.save_for_backward(tiles if of_filters else None, filters if of_tiles else None)
        return tiles @ filters.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        tiles, filters = ctx.saved_tensors
        of_tiles, of_filters = (_is_asked_for(node) for node, _ in ctx.next_functions)
        return gradient @ filters if of_tiles else None, gradient.mT @ tiles if of_filters else None


def _is_asked_for(node: Node | None) -> bool:
    """Whether this backward pass leads to this node. One within a penalty leads to the images alone.

    `ctx.needs_input_grad` does not know this, and torch itself finds out in no other way
    (`torch.autograd.graph.register_multi_grad_hook`).
    """
    return node is not None and torch._C._will_engine_execute_node(node)  # noqa: SLF001
