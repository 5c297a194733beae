"""Parameters of the minimax loss."""

from typing import ClassVar, Literal

from contract.plugin import Loss


class Minimax(Loss):
    """The original two-player game: the generator minimises log(1 - D(G(z))).

    It saturates: if the discriminator is confident, the generator learns next to nothing.
    L_D = −E log D(x) − E log(1 − D(G(z))), L_G = E log(1 − D(G(z))). Goodfellow et al. 2014, arXiv 1406.2661,
    equation 1.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False
    discriminator_steps: ClassVar[int] = 1

    kind: Literal["minimax"] = "minimax"
