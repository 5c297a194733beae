"""The latent distributions. Parameters in the contract, maths here: two files of one name, joined below.

A prior is its quantile function: draws, truncation and reproducibility all follow from it.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contract import priors as parameters
from models.priors.bernoulli import Bernoulli
from models.priors.exponential import Exponential
from models.priors.normal import Normal
from models.priors.poisson import Poisson
from models.priors.truncated_normal import TruncatedNormal
from models.priors.uniform import Uniform


class Prior(Protocol):
    """A distribution of one latent coordinate."""

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """The value below which a share `u` of the distribution lies, for 0 < u < 1.

        Made of operations that IEEE 754 rounds exactly, so that it has the same bits on every machine.
        """


PRIORS: Mapping[type, Callable[..., Prior]] = {
    parameters.Normal: Normal,
    parameters.Uniform: Uniform,
    parameters.Bernoulli: Bernoulli,
    parameters.Exponential: Exponential,
    parameters.Poisson: Poisson,
    parameters.TruncatedNormal: TruncatedNormal,
}


def build(prior: parameters.Prior) -> Prior:
    """The maths of a prior."""
    return PRIORS[type(prior)](prior)
