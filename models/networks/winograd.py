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
before and after the product: they are 0.6 % off instead of 0.2 % (norm of the deviation over that of the
result).

Letters: N batch, C and F channels of the larger and of the smaller side, S size of the smaller side, T tiles
(N·S/2·S/2). Memory is in the order of channels_last throughout.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad
from torch.overrides import handle_torch_function, has_torch_function


def halve(image: Tensor, kernel: Tensor) -> Tensor:
    """`conv2d` of stride 2 and padding 1: (N, C, 2S, 2S) and (F, C, 4, 4) to (N, F, S, S), S even.

    Differentiable any number of times. Follows autocast, like the function that it replaces.
    """
    if has_torch_function((image, kernel)):
        halved: Tensor = handle_torch_function(halve, (image, kernel), image, kernel)
        return halved
    image, kernel = _cast(image, kernel)
    size = image.shape[-1]
    tiles = _mapped(image, _tiles, partial(_image, size=size))
    filters = _mapped(kernel, _filters, _kernel)
    return _mapped(_product(tiles, filters), partial(_outputs, size=size // 2), _sums)


def double(outputs: Tensor, kernel: Tensor) -> Tensor:
    """`conv_transpose2d` of stride 2 and padding 1: (N, F, S, S) and (F, C, 4, 4) to (N, C, 2S, 2S), S even.

    Differentiable any number of times. Follows autocast, like the function that it replaces.
    """
    if has_torch_function((outputs, kernel)):
        doubled: Tensor = handle_torch_function(double, (outputs, kernel), outputs, kernel)
        return doubled
    outputs, kernel = _cast(outputs, kernel)
    size = outputs.shape[-1]
    sums = _mapped(outputs, _sums, partial(_outputs, size=size))
    filters = _mapped(kernel, _filters, _kernel)
    return _mapped(sums @ filters, partial(_image, size=size * 2), _tiles)


def _cast(*given: Tensor) -> tuple[Tensor, ...]:
    device = given[0].device.type
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return given
    dtype = torch.get_autocast_dtype(device)
    return tuple(tensor.to(dtype) for tensor in given)


Map = Callable[[Tensor], Tensor]
"""A linear one."""


def _mapped(given: Tensor, compute: Map, adjoint: Map) -> Tensor:
    mapped: Tensor = _Mapped.apply(given, compute, adjoint)  # type: ignore[no-untyped-call]
    return mapped


class _Mapped(Function):
    """A linear map, whose gradient is its adjoint."""

    @staticmethod
    def forward(ctx: Any, given: Tensor, compute: Map, adjoint: Map) -> Tensor:
        ctx.compute, ctx.adjoint = compute, adjoint
        return compute(given)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _mapped(gradient, ctx.adjoint, ctx.compute), None, None


def _product(tiles: Tensor, filters: Tensor) -> Tensor:
    product: Tensor = _Product.apply(tiles, filters)  # type: ignore[no-untyped-call]
    return product


class _Product(Function):
    """(9, T, 4C) times the transposes of (9, F, 4C). Torch would return the gradient of these, transposed."""

    @staticmethod
    def forward(ctx: Any, tiles: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(tiles, filters)
        return tiles @ filters.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        tiles, filters = ctx.saved_tensors
        of_tiles, of_filters = ctx.needs_input_grad
        return gradient @ filters if of_tiles else None, gradient.mT @ tiles if of_filters else None


def _tiles(image: Tensor) -> Tensor:
    """(N, C, 2S, 2S) to (9, T, 4C): the differences d0 - d1, d1 and d2 - d1 of rows, and of these of columns.

    A pair of rows has one row of each parity. The d of a tile are three pairs; it shares the outer ones with
    its neighbours.
    """
    batch, channels, size, _ = image.shape
    padded = pad(image.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    pairs = padded.view(batch, size // 2 + 1, 2, size // 2 + 1, 2 * channels)
    tiles = image.new_empty(3, 3, batch, size // 4, size // 4, 2, 2 * channels)
    outer, inner = pairs[:, 0::2], pairs[:, 1::2]
    for row, rows in zip(tiles, (outer[:, :-1] - inner, inner, outer[:, 1:] - inner), strict=True):
        first, middle, last = (tile.transpose(2, 3) for tile in row)  # (N, S/2, 2, S/2, 2C)
        sides, centre = rows[..., 0::2, :], rows[..., 1::2, :]
        torch.sub(sides[..., :-1, :], centre, out=first)
        middle.copy_(centre)
        torch.sub(sides[..., 1:, :], centre, out=last)
    return tiles.view(9, -1, 4 * channels)


def _image(tiles: Tensor, size: int) -> Tensor:
    """(9, T, 4C) to (N, C, size, size): the adjoint of `_tiles`."""
    channels, count = tiles.shape[-1] // 4, size // 4
    tiles = tiles.view(3, 3, -1, count, count, 2, 2 * channels).transpose(4, 5)  # (3, 3, N, S/2, 2, S/2, 2C)
    batch = tiles.shape[2]
    rows = tiles.new_empty(3, batch, count, 2, size // 2 + 1, 2 * channels)
    _overlap(rows[..., 0::2, :], rows[..., 1::2, :], tiles[:, 0], tiles[:, 1], tiles[:, 2], axis=4)
    padded = tiles.new_empty(batch, size // 2 + 1, 2, size // 2 + 1, 2 * channels)
    _overlap(padded[:, 0::2], padded[:, 1::2], rows[0], rows[1], rows[2], axis=1)
    padded = padded.view(batch, size + 2, size + 2, channels)
    return padded[:, 1:-1, 1:-1].contiguous().permute(0, 3, 1, 2)


def _overlap(outer: Tensor, inner: Tensor, first: Tensor, middle: Tensor, last: Tensor, *, axis: int) -> None:
    """Add up what each pair receives: inner ones from the three differences, outer ones from two tiles."""
    torch.sub(middle, first, out=inner).sub_(last)
    count = first.shape[axis]
    outer.narrow(axis, 0, count).copy_(first)
    outer.narrow(axis, count, 1).copy_(last.narrow(axis, count - 1, 1))
    outer.narrow(axis, 1, count - 1).add_(last.narrow(axis, 0, count - 1))


def _sums(outputs: Tensor) -> Tensor:
    """(N, F, S, S) to (9, T, F): y0, y0 + y1 and y1 of the rows of a tile, and of these of its columns."""
    batch, features, size, _ = outputs.shape
    memory = outputs.permute(0, 2, 3, 1).contiguous()
    squares = memory.view(batch * size // 2, 2, size // 2, 2, features)
    return _expanded(squares).view(9, -1, features)


def _outputs(sums: Tensor, size: int) -> Tensor:
    """(9, T, F) to (N, F, size, size): the adjoint of `_sums`."""
    features, half = sums.shape[-1], size // 2
    squares = _contracted(sums.view(3, 3, -1, half, features))
    return squares.view(-1, size, size, features).permute(0, 3, 1, 2)


def _filters(kernel: Tensor) -> Tensor:
    """(F, C, 4, 4) to (9, F, 4C): g0, g0 + g1 and g1 of rows of one parity, and of these of columns."""
    features, channels = kernel.shape[:2]
    memory = kernel.permute(0, 2, 3, 1).contiguous()
    return _expanded(memory.view(features, 2, 2, 2, 2 * channels)).view(9, features, 4 * channels)


def _kernel(filters: Tensor) -> Tensor:
    """(9, F, 4C) to (F, C, 4, 4): the adjoint of `_filters`."""
    features, channels = filters.shape[1], filters.shape[2] // 4
    squares = _contracted(filters.view(3, 3, features, 2, 2 * channels))
    return squares.view(features, 4, 4, channels).permute(0, 3, 1, 2)


def _expanded(squares: Tensor) -> Tensor:
    """(A, 2, B, 2, C) to (3, 3, A, B, C): along both axes of length 2, the first, the sum and the second."""
    before, _, between, _, after = squares.shape
    expanded = squares.new_empty(3, 3, before, between, after)
    top, bottom = squares.unbind(1)
    for row, rows in zip(expanded, (top, top + bottom, bottom), strict=True):
        left, right = rows.unbind(2)
        row[0].copy_(left)
        torch.add(left, right, out=row[1])
        row[2].copy_(right)
    return expanded


def _contracted(expanded: Tensor) -> Tensor:
    """(3, 3, A, B, C) to (A, 2, B, 2, C): the adjoint of `_expanded`."""
    before, between, after = expanded.shape[2:]
    squares = expanded.new_empty(before, 2, between, 2, after)
    first, both, second = expanded
    for row, rows in zip(squares.unbind(1), (first + both, both + second), strict=True):
        torch.add(rows[0], rows[1], out=row[..., 0, :])
        torch.add(rows[1], rows[2], out=row[..., 1, :])
    return squares
