"""4×4 convolutions of stride 2 with 9/16 of the multiplications (Lavin and Gray 2016, arXiv 1509.09308).

Such a convolution is the sum of four of stride 1, between the even or odd rows and columns of the image and
those of the kernel, which then has 2×2 taps. Winograd's F(2, 2) computes two outputs of two taps in three
multiplications instead of four:

    y0 = d0·g0 + d1·g1 = m0 + m1        m0 = (d0 - d1)·g0
    y1 = d1·g0 + d2·g1 = m1 + m2        m1 = d1·(g0 + g1)        m2 = (d2 - d1)·g1

Along rows and columns that is nine for each tile of 2×2 outputs, instead of sixteen. Each of the nine is, for
all tiles together, one matrix product, which sums over the four parities and the channels. What surrounds
the product are linear maps, which add and subtract. The transposed convolution goes through their adjoints.

In float32 the results differ from a convolution's in the last digits. In bfloat16 they are also rounded
before and after the product: they are 0.6 to 0.8 % off instead of 0.2 % (norm of the deviation over that of
the result).

Letters: N batch, C and F channels of the larger and of the smaller side, S size of the smaller side, T tiles
(N·S/2·S/2). Images, features and kernels are in the memory order of channels_last: within the maps their
axes are (N, 2S, 2S, C), (N, S, S, F) and (F, 4, 4, C).
"""

from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import Node
from torch.nn.functional import pad
from torch.overrides import handle_torch_function, has_torch_function

Convolution = Callable[[Tensor, Tensor], Tensor]


def _in_memory_order(convolution: Convolution) -> Convolution:
    """Wrap a function of tensors in memory order, so that it behaves like a convolution of torch.

    It follows autocast, and modes of torch's functions see it, as `models/rehearsal.py` needs.
    """

    @wraps(convolution)
    def wrapped(features: Tensor, kernel: Tensor) -> Tensor:
        if has_torch_function((features, kernel)):
            seen: Tensor = handle_torch_function(wrapped, (features, kernel), features, kernel)
            return seen
        given = (tensor.permute(0, 2, 3, 1).contiguous() for tensor in _cast(features, kernel))
        return convolution(*given).permute(0, 3, 1, 2)

    return wrapped


def _cast(*given: Tensor) -> tuple[Tensor, ...]:
    """The tensors in the precision of autocast, if that is on."""
    device = given[0].device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return given
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor.to(dtype) for tensor in given)


@_in_memory_order
def halve(image: Tensor, kernel: Tensor) -> Tensor:
    """`conv2d` of stride 2 and padding 1: (N, C, 2S, 2S) and (F, C, 4, 4) to (N, F, S, S), S even.

    Differentiable any number of times.
    """
    size = image.shape[1]
    tiles = _mapped(image, _tiles, partial(_from_tiles, size=size))
    filters = _mapped(kernel, _filters, _from_filters)
    return _mapped(_product(tiles, filters), partial(_from_sums, size=size // 2), _sums)


@_in_memory_order
def double(features: Tensor, kernel: Tensor) -> Tensor:
    """`conv_transpose2d` of stride 2 and padding 1: (N, F, S, S) and (F, C, 4, 4) to (N, C, 2S, 2S), S even.

    Differentiable any number of times.
    """
    size = features.shape[1]
    sums = _mapped(features, _sums, partial(_from_sums, size=size))
    filters = _mapped(kernel, _filters, _from_filters)
    return _mapped(sums @ filters, partial(_from_tiles, size=size * 2), _tiles)


LinearMap = Callable[[Tensor], Tensor]


def _mapped(given: Tensor, compute: LinearMap, adjoint: LinearMap) -> Tensor:
    mapped: Tensor = _Mapped.apply(given, compute, adjoint)  # type: ignore[no-untyped-call]
    return mapped


class _Mapped(Function):
    """A linear map, whose gradient is its adjoint."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, compute: LinearMap, adjoint: LinearMap) -> Tensor:
        ctx.compute, ctx.adjoint = compute, adjoint
        return compute(given)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _mapped(gradient, ctx.adjoint, ctx.compute), None, None


def _product(tiles: Tensor, filters: Tensor) -> Tensor:
    product: Tensor = _Product.apply(tiles, filters)  # type: ignore[no-untyped-call]
    return product


class _Product(Function):
    """(9, T, 4C) times the transposes of (9, F, 4C).

    The gradient of the filters has their order in memory. Torch's own would be (9, 4C, F) there, and slow to
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


def _tiles(image: Tensor) -> Tensor:
    """(N, 2S, 2S, C) to (9, T, 4C): the differences d0 - d1, d1 and d2 - d1 of rows, and of these of columns.

    A pair of rows has one row of each parity. The d of a tile are three pairs; it shares the outer ones with
    its neighbours.
    """
    batch, size, _, channels = image.shape
    pairs = pad(image, (0, 0, 1, 1, 1, 1)).view(batch, size // 2 + 1, 2, size // 2 + 1, 2 * channels)
    tiles = image.new_empty(3, 3, batch, size // 4, size // 4, 2, 2 * channels)
    outer, inner = pairs[:, 0::2], pairs[:, 1::2]
    for row, rows in zip(tiles, (outer[:, :-1] - inner, inner, outer[:, 1:] - inner), strict=True):
        first, middle, last = (tile.transpose(2, 3) for tile in row)  # (N, S/2, 2, S/2, 2C)
        sides, centre = rows[..., 0::2, :], rows[..., 1::2, :]
        torch.sub(sides[..., :-1, :], centre, out=first)  # d0 - d1
        middle.copy_(centre)  # d1
        torch.sub(sides[..., 1:, :], centre, out=last)  # d2 - d1
    return tiles.view(9, -1, 4 * channels)


def _from_tiles(tiles: Tensor, size: int) -> Tensor:
    """(9, T, 4C) to (N, size, size, C): the adjoint of `_tiles`."""
    channels, count = tiles.shape[-1] // 4, size // 4
    tiles = tiles.view(3, 3, -1, count, count, 2, 2 * channels).transpose(4, 5)  # (3, 3, N, S/2, 2, S/2, 2C)
    batch = tiles.shape[2]
    rows = tiles.new_empty(3, batch, count, 2, size // 2 + 1, 2 * channels)
    _overlap(rows[..., 0::2, :], rows[..., 1::2, :], tiles[:, 0], tiles[:, 1], tiles[:, 2], axis=4)
    pairs = tiles.new_empty(batch, size // 2 + 1, 2, size // 2 + 1, 2 * channels)
    _overlap(pairs[:, 0::2], pairs[:, 1::2], rows[0], rows[1], rows[2], axis=1)
    return pairs.view(batch, size + 2, size + 2, channels)[:, 1:-1, 1:-1].contiguous()


def _overlap(outer: Tensor, inner: Tensor, first: Tensor, middle: Tensor, last: Tensor, *, axis: int) -> None:
    """Add up what each pair receives: inner ones from the three differences, outer ones from two tiles."""
    torch.sub(middle, first, out=inner).sub_(last)
    count = first.shape[axis]
    outer.narrow(axis, 0, count).copy_(first)
    outer.narrow(axis, count, 1).copy_(last.narrow(axis, count - 1, 1))
    outer.narrow(axis, 1, count - 1).add_(last.narrow(axis, 0, count - 1))


def _sums(features: Tensor) -> Tensor:
    """(N, S, S, F) to (9, T, F): y0, y0 + y1 and y1 of the rows of a tile, and of these of its columns."""
    batch, size, _, channels = features.shape
    squares = features.contiguous().view(batch * size // 2, 2, size // 2, 2, channels)
    return _expanded(squares).view(9, -1, channels)


def _from_sums(sums: Tensor, size: int) -> Tensor:
    """(9, T, F) to (N, size, size, F): the adjoint of `_sums`."""
    channels, half = sums.shape[-1], size // 2
    expanded = sums.view(3, 3, -1, half, channels)
    features = sums.new_empty(expanded.shape[2] // half, size, size, channels)
    _contract(expanded, features.view(-1, 2, half, 2, channels))
    return features


def _filters(kernel: Tensor) -> Tensor:
    """(F, 4, 4, C) to (9, F, 4C): g0, g0 + g1 and g1 of rows of one parity, and of these of columns."""
    features, channels = kernel.shape[0], kernel.shape[3]
    squares = kernel.contiguous().view(features, 2, 2, 2, 2 * channels)
    return _expanded(squares).view(9, features, 4 * channels)


def _from_filters(filters: Tensor) -> Tensor:
    """(9, F, 4C) to (F, 4, 4, C): the adjoint of `_filters`."""
    features, channels = filters.shape[1], filters.shape[2] // 4
    kernel = filters.new_empty(features, 4, 4, channels)
    squares = kernel.view(features, 2, 2, 2, 2 * channels)
    _contract(filters.view(3, 3, features, 2, 2 * channels), squares)
    return kernel


def _expanded(squares: Tensor) -> Tensor:
    """(A, 2, B, 2, K) to (3, 3, A, B, K): along both axes of length 2, the first, the sum and the second."""
    before, _, between, _, after = squares.shape
    expanded = squares.new_empty(3, 3, before, between, after)
    top, bottom = squares.unbind(1)
    for row, rows in zip(expanded, (top, top + bottom, bottom), strict=True):
        left, right = rows.unbind(2)
        row[0].copy_(left)
        torch.add(left, right, out=row[1])
        row[2].copy_(right)
    return expanded


def _contract(expanded: Tensor, squares: Tensor) -> None:
    """Write to (A, 2, B, 2, K) what (3, 3, A, B, K) becomes by the adjoint of `_expanded`."""
    first, both, second = expanded
    for row, rows in zip(squares.unbind(1), (first + both, both + second), strict=True):
        torch.add(rows[0], rows[1], out=row[..., 0, :])
        torch.add(rows[1], rows[2], out=row[..., 1, :])
