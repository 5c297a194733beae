"""The quantile of a Bernoulli variable, standardised: (k − p) / √(p(1 − p)) for k in 0, 1."""

import math

import numpy as np
from numpy.typing import NDArray

from contract import priors as parameters


class Bernoulli:
    """Coordinates with two values, the higher one with probability p."""

    def __init__(self, parameters: parameters.Bernoulli) -> None:
        self.parameters = parameters

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """A step at u = 1 − p."""
        p = self.parameters.probability
        deviation = math.sqrt(p * (1 - p))
        return np.where(u < 1 - p, -p / deviation, (1 - p) / deviation)
