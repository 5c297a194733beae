"""Truncation: less risk, less variety (Marchesi 2017, arXiv 1706.00082; Brock et al. 2019, arXiv 1809.11096).

They redraw normal coordinates that fall too far out. Every prior has such a middle: its quantiles over the
middle of (0, 1). So nothing is drawn again, and the latent of a seed follows the share: of a continuous prior
continuously.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.priors import Prior


def truncated(prior: Prior, share: float) -> Prior:
    """The prior without its tails, for 0 < share ≤ 1: (1 − share) / 2 of it at each end. 1 is no truncation.

    It is not standardised again: that values come nearer to the median is the purpose.
    """
    assert 0 < share <= 1
    return prior if share == 1 else Truncated(prior, share)


@dataclass(frozen=True)
class Truncated:
    """What lies in the middle `share` of a prior: a prior too, but for its mean and variance."""

    prior: Prior
    share: float

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The prior's quantile, its argument drawn towards 1/2."""
        centred = u - 0.5
        return self.prior.quantile(0.5 + centred * self.share)
