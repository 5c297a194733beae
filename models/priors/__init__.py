"""The latent distributions: parameters live in `contract`, maths here, in files of the same name.

A prior is defined by its quantile function; draws, truncation and reproducibility all follow from it.
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

        Uses only operations that IEEE 754 rounds exactly, so the bits are the same on every machine.
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
