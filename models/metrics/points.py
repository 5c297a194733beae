"""Points in feature space: their validation, and the distances between them, a few rows at a time.

Letters in this package: N reals, M fakes, T training images, F features.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 256
"""Rows of a distance matrix that are computed together: with 3,000 columns they fit into the CPU cache."""
SAME = 1e-6
"""Squared distances below this share of the points' squared lengths are rounding errors of equal points."""


def taken(features: Tensor, at_least: int) -> Tensor:
    """Validate features (N, F) and convert them to float64 on the CPU.

    Raises:
        ValueError: there are fewer than `at_least`, or some are not finite.
    """
    if features.ndim != 2 or len(features) < at_least:
        raise ValueError(f"Features {tuple(features.shape)} are not (N, F) with N of {at_least} or more.")
    if not features.isfinite().all():
        raise ValueError(f"Features {tuple(features.shape)} hold numbers that are not finite.")
    return features.detach().to(device="cpu", dtype=torch.float64)


def squared_distances(rows: Tensor, columns: Tensor) -> Iterator[Tensor]:
    """Yield the squared Euclidean distances (n, M) of successive rows of (N, F) to all columns (M, F).

    Equal points have exactly 0. Other distances lose digits if two points are much closer to each other than
    to the mean, which is the price of a single matrix product. Computed in float32, in half the time.
    """
    mean = columns.mean(0)
    centred = (columns - mean).float()
    lengths = centred.square().sum(1)  # (M,)
    for part in torch.split(rows, ROWS):
        some = (part - mean).float()
        own = some.square().sum(1)[:, None]  # (n, 1)
        squares = torch.addmm(lengths, some, centred.T, alpha=-2).add_(own)  # (n, M)
        yield squares.masked_fill_(squares < 2 * SAME * own, 0).clamp_(min=0)


def mean_pairwise_distance(features: Tensor) -> float:
    """The mean Euclidean distance over pairs of distinct features (N, F), N ≥ 2.

    Raises:
        ValueError: fewer than two, or some not finite.
    """
    points = taken(features, at_least=2)
    total = sum(float(some.sqrt_().sum(dtype=torch.float64)) for some in squared_distances(points, points))
    return total / (len(points) * (len(points) - 1))
