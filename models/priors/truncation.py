"""Truncation trades variety for fidelity.

Marchesi 2017 (arXiv 1706.00082) and Brock et al. 2019 (arXiv 1809.11096) redraw normal coordinates that fall
too far out. Here any prior is truncated by taking its quantiles over the middle of (0, 1). Nothing is
redrawn, so the latent of a seed changes with the share, continuously if the prior is continuous.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.priors import Prior


def truncated(prior: Prior, share: float) -> Prior:
    """The prior without a tail of (1 − share) / 2 at each end, for 0 < share ≤ 1; 1 means no truncation.

    The result is not standardised again, because the purpose is to bring values nearer to the median.
    """
    assert 0 < share <= 1
    return prior if share == 1 else Truncated(prior, share)


@dataclass(frozen=True)
class Truncated:
    """The middle `share` of a prior: itself a prior, except that its mean and variance differ."""

    prior: Prior
    share: float

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The prior's quantile, with its argument scaled towards 1/2."""
        centred = u - 0.5
        return self.prior.quantile(0.5 + centred * self.share)
