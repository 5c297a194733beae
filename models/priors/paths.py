"""Paths between latents on which every point follows the prior, for any prior.

A straight line between two latents passes through a region where the prior has hardly any mass (White 2016,
arXiv 1609.04468). White's remedy is an arc: a weighted sum of two independent normal latents is normal again
if the squares of the weights add up to 1. Other priors are converted through the shares that their latents
are quantiles of (as in Leśniak et al. 2018, arXiv 1806.01670): share → normal → arc → share → quantile. Under
a discrete prior a path moves in steps, because nothing else has its distribution.

As for all draws, the bits are the same on every machine: IEEE 754 rounds every operation exactly.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.priors import Normal as NormalParameters
from models.priors import Prior
from models.priors.normal import Normal

Shares = NDArray[np.float64]

_NORMAL = Normal(NormalParameters())
_FIRST, _LAST = 2.0**-53, 1 - 2.0**-53  # the smallest and largest shares of a draw
_COSINE_TERMS = 14


def path(prior: Prior, start: Shares, end: Shares, points: int) -> NDArray[np.float32]:
    """The latents (P, T, Z) of P paths of T ≥ 2 points, spaced at equal angles from (P, Z) to (P, Z)."""
    paths, size = start.shape
    ways = [point / (points - 1) for point in range(points)]
    walked = along(prior, start, end, np.repeat(range(paths), points), ways * paths)
    return walked.reshape(paths, points, size)


def along(
    prior: Prior, start: Shares, end: Shares, paths: Sequence[int] | NDArray[np.intp], ways: Sequence[float]
) -> NDArray[np.float32]:
    """The latents (N, Z) of N points: each on one of P `paths`, a fraction of the way, 0 to 1, along it.

    The ends (P, Z) are shares in (0, 1), as from `models.latents.shares`; 0 and 1 give them bit for bit. If
    they are independent draws, a point between them is also a draw from the prior.
    """
    assert all(0 <= way <= 1 for way in ways)
    return prior.quantile(_blended(start, end, np.asarray(paths), ways)).astype(np.float32)


def _blended(start: Shares, end: Shares, paths: NDArray[np.intp], ways: Sequence[float]) -> Shares:
    """The shares (N, Z) of these points."""
    to_start, to_end = (np.array([[turn(way)] for way in ways]) for turn in (_cosine, _sine))  # (N, 1)
    sums = _NORMAL.quantile(start)[paths] * to_start + _NORMAL.quantile(end)[paths] * to_end
    blended = np.clip(_NORMAL.cdf(sums), _FIRST, _LAST)
    for ends, way in ((start, 0), (end, 1)):
        there = np.flatnonzero(np.array(ways) == way)
        blended[there] = ends[paths[there]]
    return blended


def _sine(turn: float) -> float:
    return _cosine(1.0 - turn)


def _cosine(turn: float) -> float:
    """The cosine of a `turn` of 0 to 1 right angles, by its Taylor series, because libraries differ."""
    square = (turn * (math.pi / 2)) * (turn * (math.pi / 2))
    term = total = 1.0
    for k in range(1, _COSINE_TERMS):
        term *= -square / ((2 * k - 1) * (2 * k))
        total += term
    return total
