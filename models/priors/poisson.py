"""The quantile of a Poisson variable, standardised: (k − λ) / √λ.

Its distribution function is summed in decimal arithmetic with 50 places and rounded once to float64.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from contract import priors as parameters

PLACES = 50
_LAST = 2.0**-54  # a tail too small to contain any u, beyond the highest count


class Poisson:
    """Counts with rate λ, standardised to zero mean and unit variance."""

    def __init__(self, parameters: parameters.Poisson) -> None:
        self.parameters = parameters
        self._shares = _distribution(parameters.rate)

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """A step function: the smallest count whose distribution function reaches u, standardised."""
        counts = np.searchsorted(self._shares, u, side="left").astype(np.float64)
        return (counts - self.parameters.rate) / math.sqrt(self.parameters.rate)


def _distribution(rate: float) -> NDArray[np.float64]:
    """The cumulative shares of counts 0, 1, 2, … until the remaining tail is negligible."""
    with localcontext(prec=PLACES):
        exact = Decimal(rate)
        term = (-exact).exp()
        shares = [term]
        while 1 - shares[-1] > Decimal(_LAST):
            term *= exact / len(shares)
            shares.append(shares[-1] + term)
        return np.array([float(share) for share in shares[:-1]])
