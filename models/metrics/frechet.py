"""The Fréchet distance of two normal distributions fitted to features (Heusel et al. 2017, arXiv 1706.08500).

Equation 6 there: d² = ‖m₁ − m₂‖² + tr(C₁ + C₂ − 2 (C₁C₂)^½), the square of what Dowson and Landau (1982)
call the distance; as is usual, we report d². It is biased upwards by about a constant over the number of
images (Chong and Forsyth 2020, arXiv 1911.07023), so compare only distances of equal numbers of images.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from models.metrics.points import taken


@dataclass(frozen=True, eq=False)
class Moments:
    """The statistics the distance depends on; those of the reference are computed once."""

    mean: Tensor
    """(F,), float64."""
    covariance: Tensor
    """(F, F), float64, unbiased: divided by count − 1."""
    count: int

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """The moments of features (N, F), N ≥ 2.

        Raises:
            ValueError: fewer than two, or some not finite.
        """
        points = taken(features, at_least=2)
        mean = points.mean(0)
        centred = points - mean
        return cls(mean, centred.T @ centred / (len(points) - 1), len(points))

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root (F, F) of the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
        return root


def frechet_distance(real: Tensor | Moments, fake: Tensor | Moments) -> float:
    """The squared distance between features (N, F) and (M, F), or their moments; at least 0.

    tr (C₁C₂)^½ is the sum of the roots of the eigenvalues of C₁^½ C₂ C₁^½. That matrix is symmetric, so
    nothing is complex, and rank-deficient covariances (fewer images than features) need no special care.

    Raises:
        ValueError: fewer than two features, or some not finite.
    """
    one, other = _moments(real), _moments(fake)
    product = one.root @ other.covariance @ one.root  # (F, F)
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    means = (one.mean - other.mean).square().sum()
    return max(0.0, float(means + one.covariance.trace() + other.covariance.trace() - 2 * shared))


def _moments(given: Tensor | Moments) -> Moments:
    return given if isinstance(given, Moments) else Moments.of(given)
