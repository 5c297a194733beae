"""Paths between latents whose every point is distributed as the prior says, whatever the prior.

A straight line between two latents leads through a middle where a prior has hardly any latents (White 2016,
arXiv 1609.04468). Its remedy is an arc: the sum of two independent normal latents by weights whose squares
add up to 1 is normal again. Any other prior gets there by way of the shares that its latents are quantiles of
(as Leśniak et al. 2018, arXiv 1806.01670): share → normal → arc → share → quantile. Between the latents of a
discrete prior a path is one of steps, for there is nothing else that has its distribution.

As all draws, these have the same bits on every machine: each operation is one that IEEE 754 rounds exactly.
"""

import math

import numpy as np
from numpy.typing import NDArray

from contract.priors import Normal as NormalParameters
from models.priors import Prior
from models.priors.normal import Normal

Shares = NDArray[np.float64]

_NORMAL = Normal(NormalParameters())
_FIRST, _LAST = 2.0**-53, 1 - 2.0**-53  # the outermost shares that a draw can have
_COSINE_TERMS = 14


def path(prior: Prior, start: Shares, end: Shares, points: int) -> NDArray[np.float32]:
    """The latents (P, T, Z) of P paths of T ≥ 2 points, at equal angles from (P, Z) to (P, Z)."""
    return np.stack([between(prior, start, end, point / (points - 1)) for point in range(points)], axis=1)


def between(prior: Prior, start: Shares, end: Shares, way: float) -> NDArray[np.float32]:
    """The latents (P, Z) at a part of the `way`, from 0 to 1; at 0 and 1 those of the ends, bit for bit.

    The ends are given as `models.latents.shares`, in (0, 1). If they are independent draws, the point between
    them is one more draw from the prior.
    """
    assert 0 <= way <= 1
    return prior.quantile(_blended(start, end, way)).astype(np.float32)


def _blended(start: Shares, end: Shares, way: float) -> Shares:
    if way in (0, 1):
        return end if way else start
    from_start = _NORMAL.quantile(start) * _cosine(way)
    from_end = _NORMAL.quantile(end) * _cosine(1.0 - way)
    return np.clip(_NORMAL.share(from_start + from_end), _FIRST, _LAST)


def _cosine(turn: float) -> float:
    """The cosine of a `turn` of 0 to 1 right angles, by its Taylor series: libraries differ."""
    square = (turn * (math.pi / 2)) * (turn * (math.pi / 2))
    term = total = 1.0
    for k in range(1, _COSINE_TERMS):
        term *= -square / ((2 * k - 1) * (2 * k))
        total += term
    return total
