"""Points in feature space: taken in, and the distances between them, a few rows at a time.

Letters here and in its neighbours: N reals, M fakes, T training images, F features.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 256
"""Rows of a distance matrix that are made together: beside 3,000 columns they stay in the cache."""
SAME = 1e-6
"""A squared distance below this share of the points' squared lengths is rounding: they are the same."""


def taken(features: Tensor, at_least: int) -> Tensor:
    """The features (N, F) as float64 on the CPU, whatever they were.

    Raises:
        ValueError: there are fewer than `at_least`, or some are not finite.
    """
    if features.ndim != 2 or len(features) < at_least:
        raise ValueError(f"Features {tuple(features.shape)} are not (N, F) with N of {at_least} or more.")
    if not features.isfinite().all():
        raise ValueError(f"Features {tuple(features.shape)} hold numbers that are not finite.")
    return features.detach().to(device="cpu", dtype=torch.float64)


def squared_distances(rows: Tensor, columns: Tensor) -> Iterator[Tensor]:
    """The squared Euclidean distances (n, M) of some rows (N, F) after the others to all the columns (M, F).

    Of points that are the same they are exactly 0; others lose digits where the points lie much closer to
    each other than to the mean, the price of one matrix product. In float32, which takes half the time.
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
    """The mean Euclidean distance of two different ones of the features (N, F), N ≥ 2.

    Raises:
        ValueError: fewer than two, or some not finite.
    """
    points = taken(features, at_least=2)
    total = sum(float(some.sqrt_().sum(dtype=torch.float64)) for some in squared_distances(points, points))
    return total / (len(points) * (len(points) - 1))
