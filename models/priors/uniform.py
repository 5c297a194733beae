"""The uniform quantile on [-√3, √3]."""

import numpy as np
from numpy.typing import NDArray

from contract import priors as parameters

_WIDTH = 3.4641016151377544  # 2√3, rounded to float64


class Uniform:
    """Uniform coordinates of unit variance."""

    def __init__(self, parameters: parameters.Uniform) -> None:
        self.parameters = parameters

    def quantile(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """A linear function, exactly odd about u = 1/2."""
        centred = u - 0.5
        return centred * _WIDTH
