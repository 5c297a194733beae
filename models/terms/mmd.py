"""Squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13, equation 3), on features or pixels.

The kernel is a mixture of rational-quadratic ones (Bińkowski et al. 2018, arXiv 1801.01401, section 3.1):
k(x, y) = Σ_α (1 + d²/2α)^(−α), α in 0.2, 0.5, 1, 2, 5, where d² is the mean, not the sum, of the squared
coordinate differences, so that the kernel works for any number of coordinates.
"""

import torch
from torch import Tensor

from contract import terms as parameters
from models.game import GeneratorTerm, Judged

ALPHAS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Mmd(GeneratorTerm):
    """The weighted discrepancy between the reals and the fakes of a step."""

    def __init__(self, parameters: parameters.Mmd) -> None:
        self.parameters = parameters
        self.name = f"mmd_{parameters.on}"
        self._view = {"features": _features, "pixels": _pixels}[parameters.on]

    def loss(self, real: Judged, fake: Judged) -> Tensor:
        return self.parameters.weight * squared_mmd(self._view(real), self._view(fake))


def squared_mmd(real: Tensor, fake: Tensor) -> Tensor:
    """The unbiased estimate from (N, F) and (M, F), N, M ≥ 2; around 0 for equal distributions, or below."""
    return _mean_of_pairs(real) + _mean_of_pairs(fake) - 2 * _kernel(real, fake).mean()


def _mean_of_pairs(points: Tensor) -> Tensor:
    """The mean kernel over pairs of distinct points (N, F); including the diagonal would bias it."""
    count = len(points)
    kernel = _kernel(points, points)  # (N, N)
    return (kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1))


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    squares = one.square().mean(1)[:, None] + other.square().mean(1) - 2 * (one @ other.T) / one.shape[1]
    distances = squares.clamp(min=0)  # (N, M)
    return torch.stack([(1 + distances / (2 * alpha)) ** -alpha for alpha in ALPHAS]).sum(0)


def _features(judged: Judged) -> Tensor:
    return judged.features


def _pixels(judged: Judged) -> Tensor:
    return judged.images.flatten(1)
