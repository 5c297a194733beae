"""The linear maps around the matrix products of Winograd's algorithm (Lavin and Gray 2016, arXiv 1509.09308).

Letters: N batch, C and F channels of the larger and of the smaller side, S size of the smaller side, W width
of a tile, T tiles of all batches (N·S/W·S/W for each), P points in two dimensions ((W + 1)²). Images,
features and kernels are in the memory order of channels_last: (N, 2S, 2S, C), (N, S, S, F) and (F, 4, 4, C).
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

POINTS = (1, -1 / 2, -2, 1 / 4)
"""Where tiles are multiplied, besides infinity; small tiles take the first two.

Of those for which bfloat16 holds the matrices of inputs and of sums exactly, these round best.
"""


@dataclass(frozen=True)
class Tiling:
    """How the smaller sides of some batches are cut into tiles, and the maps that follow from it.

    The maps are in pairs of adjoints.
    """

    width: int
    size: int
    """Of the smaller side, a multiple of the width."""
    batches: tuple[int, ...]
    """Their sizes."""

    @classmethod
    def of(cls, size: int, batches: tuple[int, ...], kernels: int) -> "Tiling":
        """The fastest for F kernels. If large tiles are few, their filters take longer than they save."""
        are_many = 4 * sum(batches) * (size // 4) ** 2 >= kernels
        return cls(4 if size % 4 == 0 and are_many else 2, size, batches)

    def tiles(self, *images: Tensor) -> Tensor:
        """(N, 2S, 2S, C) of each batch to (P, T, 4C)."""
        padded = self._frame(images[0])
        for part, image in zip(padded.split_with_sizes(self.batches), images, strict=True):
            part[:, 1:-1, 1:-1] = image
        windows = self._windows(padded)
        windows = windows.reshape(-1, (self.width + 1) ** 2, 4 * padded.shape[-1])
        return _times(self._matrices(padded).tiles, windows)

    def from_tiles(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """(P, T, 4C) to (N, 2S, 2S, C) of each batch. Where windows overlap, they add up."""
        width, count = self.width, self.size // self.width
        channels = tiles.shape[-1] // 4
        flat = self._matrices(tiles).tiles.mT @ tiles.reshape(len(tiles), -1)
        parts = flat.view(width + 1, width + 1, -1, count, count, 2, 2 * channels)
        given = parts.permute(2, 3, 4, 0, 1, 5, 6)
        padded = tiles.new_empty(len(given), 2 * self.size + 2, 2 * self.size + 2, channels)
        padded[:, -2:] = padded[:, :, -2:] = 0
        windows = self._windows(padded)
        windows[..., :width, :width, :, :] = given[..., :width, :width, :, :]
        windows[..., width, :width, :, :] += given[..., width, :width, :, :]
        windows[..., :width, width, :, :] += given[..., :width, width, :, :]
        windows[..., width, width, :, :] += given[..., width, width, :, :]
        images = padded[:, 1:-1, 1:-1].split_with_sizes(self.batches)
        return tuple(image.contiguous() for image in images)

    def _frame(self, like: Tensor) -> Tensor:
        """The images of all batches, not yet filled in, in a frame of zeros: (N, 2S + 2, 2S + 2, C)."""
        size = 2 * self.size + 2
        padded = like.new_empty(sum(self.batches), size, size, like.shape[-1])
        padded[:, 0] = padded[:, -1] = padded[:, :, 0] = padded[:, :, -1] = 0
        return padded

    def _windows(self, padded: Tensor) -> Tensor:
        """View (N, 2S + 2, 2S + 2, C) as (N, S/W, S/W, W + 1, W + 1, 2, 2C).

        A pair of rows, or of columns, has one of each parity. A window is W + 1 pairs in both directions; it
        shares the outer ones with its neighbours.
        """
        pairs = padded.view(len(padded), self.size + 1, 2, self.size + 1, 2 * padded.shape[-1])
        windows = pairs.unfold(1, self.width + 1, self.width).unfold(3, self.width + 1, self.width)
        return windows.permute(0, 1, 3, 5, 6, 2, 4)

    def from_sums(self, sums: Tensor) -> tuple[Tensor, ...]:
        """(P, T, F) to (N, S, S, F) of each batch."""
        width, count, channels = self.width, self.size // self.width, sums.shape[-1]
        flat = self._matrices(sums).sums @ sums.reshape(len(sums), -1)
        tiles = flat.view(width, width, -1, count, count, channels).permute(2, 3, 0, 4, 1, 5)
        parts = (
            part.reshape(-1, self.size, self.size, channels) for part in tiles.split_with_sizes(self.batches)
        )
        return tuple(part.contiguous() for part in parts)

    def sums(self, *features: Tensor) -> Tensor:
        """(N, S, S, F) of each batch to (P, T, F)."""
        width, count, channels = self.width, self.size // self.width, features[0].shape[-1]
        cut = (each.reshape(-1, count, width, count, width, channels).transpose(2, 3) for each in features)
        tiles = torch.cat(list(cut)).view(-1, width**2, channels)
        return _times(self._matrices(tiles).sums.mT, tiles)

    def filters(self, kernel: Tensor, dtype: torch.dtype) -> Tensor:
        """(F, 4, 4, C) to (P, F, 4C) of this precision."""
        features, channels = kernel.shape[0], kernel.shape[-1]
        taps = kernel.new_empty(features, 2, 2, 2, 2 * channels, dtype=dtype)
        taps.copy_(kernel.reshape(taps.shape).transpose(2, 3))
        return _times(self._matrices(taps).filters, taps.view(features, 4, 4 * channels))

    def from_filters(self, filters: Tensor, dtype: torch.dtype) -> Tensor:
        """(P, F, 4C) to (F, 4, 4, C) of this precision."""
        features, channels = filters.shape[1], filters.shape[-1] // 4
        flat = self._matrices(filters).filters.mT @ filters.reshape(len(filters), -1)
        kernel = filters.new_empty(features, 2, 2, 2, 2 * channels, dtype=dtype)
        kernel.copy_(flat.view(2, 2, features, 2, 2 * channels).permute(2, 0, 3, 1, 4))
        return kernel.view(features, 4, 4, channels)

    def _matrices(self, like: Tensor) -> "_Matrices":
        return _toom_cook(self.width, like.dtype, like.device)


def _times(matrix: Tensor, blocks: Tensor) -> Tensor:
    """A matrix (P, K) times each of the blocks (A, K, B): (P, A, B)."""
    if blocks.dtype != torch.bfloat16:
        return (matrix @ blocks).transpose(0, 1)
    # oneDNN multiplies these. It writes in any order at no cost, but first copies what it reads in another,
    # and the matrix, once for each block.
    products = blocks.new_empty(len(matrix), len(blocks), blocks.shape[-1])
    torch.bmm(matrix.expand(len(blocks), -1, -1), blocks, out=products.transpose(0, 1))
    return products


class _Matrices(NamedTuple):
    """What is done to each tile, to rows and columns at once."""

    tiles: Tensor
    """(P, P): values of the inputs at the points."""
    filters: Tensor
    """(P, 4): values of the taps of one parity."""
    sums: Tensor
    """(W², P): from the products of these to the outputs."""


@cache
def _toom_cook(width: int, dtype: torch.dtype, device: torch.device) -> _Matrices:
    """Those of Toom and Cook, transposed as Winograd's are: Kronecker squares of one dimension's."""
    points = np.array(POINTS[:width])
    others = [np.delete(points, place) for place in range(width)]
    infinity = np.eye(width + 1)[-1:]
    tiles = np.stack([*(np.append(np.poly(roots)[::-1], 0) for roots in others), np.poly(points)[::-1]])
    norms = [[np.prod(point - roots)] for point, roots in zip(points, others, strict=True)]
    filters = np.vstack([np.vander(points, 2, increasing=True) / norms, infinity[:, -2:]])
    sums = np.vstack([np.vander(points, width, increasing=True), infinity[:, -width:]]).T
    squares = (torch.from_numpy(np.kron(each, each)) for each in (tiles, filters, sums))
    return _Matrices(*(square.to(device, dtype) for square in squares))
