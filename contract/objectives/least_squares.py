"""Parameters of the least-squares loss."""

from typing import ClassVar, Literal

from contract.plugin import Loss


class LeastSquares(Loss):
    """Half the squared distance of each score from its target: 1 for reals, 0 for fakes.

    L_D = ½ E(s(x) − 1)² + ½ E s(G(z))², L_G = ½ E(s(G(z)) − 1)². Mao et al. 2017, arXiv 1611.04076,
    equation 9.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False
    discriminator_steps: ClassVar[int] = 1

    kind: Literal["least_squares"] = "least_squares"
