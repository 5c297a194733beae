"""Parameters of the least-squares loss (Mao et al. 2017, arXiv 1611.04076, equation 9)."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class LeastSquares(Frozen):
    """Half the squared distance of each score from its target: 1 for reals, 0 for fakes."""

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False

    kind: Literal["least_squares"] = "least_squares"
