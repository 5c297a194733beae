"""The quantile of a normal variable truncated at ±b and scaled to unit variance.

With Φ and φ the normal distribution and density, and Z = Φ(b) − Φ(−b): quantile Φ⁻¹(Φ(−b) + u Z), variance
1 − 2bφ(b)/Z (Johnson, Kotz and Balakrishnan 1994, "Continuous univariate distributions", volume 1, 13.10.1).
The two constants are computed in decimal arithmetic with 50 places and rounded once to float64.
"""

from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

from contract import priors as parameters
from contract.priors import Normal as NormalParameters
from models.priors.normal import Normal

PLACES = 50
_ROOT_OF_TWO_PI = Decimal("2.50662827463100050241576528481104525300698674060994")


class TruncatedNormal:
    """Normal coordinates truncated at the bound, then scaled to unit variance."""

    def __init__(self, parameters: parameters.TruncatedNormal) -> None:
        self._normal = Normal(NormalParameters())
        self._tail, self._deviation = _constants(parameters.bound)

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The normal quantile between the two tails, scaled."""
        within = 1.0 - 2.0 * self._tail
        inner = u * within
        return self._normal.quantile(inner + self._tail) / self._deviation


def _constants(bound: float) -> tuple[float, float]:
    """The share of one tail, and the standard deviation of the rest."""
    with localcontext(prec=PLACES):
        b = Decimal(bound)
        density = (-b * b / 2).exp() / _ROOT_OF_TWO_PI
        middle = 2 * density * _series(b)  # Φ(b) − Φ(−b)
        return float((1 - middle) / 2), float((1 - 2 * b * density / middle).sqrt())


def _series(b: Decimal) -> Decimal:
    """(Φ(b) − 1/2) / φ(b) = b + b³/3 + b⁵/(3·5) + … (Abramowitz and Stegun 1964, 26.2.11)."""
    term = total = b
    odd = 1
    while term > Decimal(10) ** -PLACES:
        odd += 2
        term *= b * b / odd
        total += term
    return total
