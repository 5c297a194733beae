"""The quantile of an exponential variable less its mean: −log(1 − u) − 1."""

import numpy as np
from numpy.typing import NDArray

from contract import priors as parameters
from models.priors.logarithm import log


class Exponential:
    """Exponential coordinates of zero mean and unit variance, with a tail to the right."""

    def __init__(self, parameters: parameters.Exponential) -> None:
        self.parameters = parameters

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return -log(1.0 - u) - 1.0
