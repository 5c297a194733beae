"""The kernel distance of features: KID without Inception (Bińkowski et al. 2018, arXiv 1801.01401, sec. 4).

The squared maximum mean discrepancy under k(x, y) = (x·y / F + 1)³, by the unbiased estimate (Gretton et al.
2012, JMLR 13, equation 3). Unlike the Fréchet distance, it is comparable across numbers of images.
"""

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.metrics.points import ROWS, taken

BLOCKS = 10


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error."""

    value: float
    error: float


@dataclass(frozen=True, eq=False)
class Pairs:
    """The part of the distance that depends on one set alone; for the reference it is computed once."""

    points: Tensor
    """(N, F), float64."""
    mean_kernel: float
    """The mean over pairs of distinct points."""

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """The pairs of features (N, F), N ≥ 4.

        Raises:
            ValueError: fewer than four, or some not finite.
        """
        points = taken(features, at_least=4)
        return cls(points, _mean_of_pairs(points))


def kernel_distance(real: Tensor | Pairs, fake: Tensor | Pairs) -> Estimate:
    """The distance between features (N, F) and (M, F), N, M ≥ 4; around 0, or below, for equal distributions.

    The value uses all pairs. The error is the standard deviation of the estimates from up to ten disjoint
    blocks (every tenth image, at least two of each kind) over the root of their number. For almost equal
    distributions it is too large, by up to √10, because blocks vary disproportionately there.

    Raises:
        ValueError: fewer than four of a kind, or some not finite.
    """
    reals, fakes = _pairs(real), _pairs(fake)
    blocks = min(BLOCKS, len(reals.points) // 2, len(fakes.points) // 2)
    estimates = [_of_block(reals.points[k::blocks], fakes.points[k::blocks]) for k in range(blocks)]
    deviation = float(torch.tensor(estimates, dtype=torch.float64).std())
    return Estimate(_squared_mmd(reals, fakes), deviation / math.sqrt(blocks))


def _pairs(given: Tensor | Pairs) -> Pairs:
    return given if isinstance(given, Pairs) else Pairs.of(given)


def _of_block(reals: Tensor, fakes: Tensor) -> float:
    return _squared_mmd(Pairs(reals, _mean_of_pairs(reals)), Pairs(fakes, _mean_of_pairs(fakes)))


def _squared_mmd(reals: Pairs, fakes: Pairs) -> float:
    cross = _kernel_sum(reals.points, fakes.points) / (len(reals.points) * len(fakes.points))
    return reals.mean_kernel + fakes.mean_kernel - 2 * cross


def _mean_of_pairs(points: Tensor) -> float:
    """The mean kernel over pairs of distinct points (N, F)."""
    themselves = float((points.square().mean(1) + 1).pow(3).sum())
    return (_kernel_sum(points, points) - themselves) / (len(points) * (len(points) - 1))


def _kernel_sum(rows: Tensor, columns: Tensor) -> float:
    total = 0.0
    for part in torch.split(rows, ROWS):
        bases = (part @ columns.T).div_(rows.shape[1]).add_(1).flatten()
        total += float(bases.square() @ bases)  # the sum of cubes, in one pass less than pow
    return total
