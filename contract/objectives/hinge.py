"""Parameters of the hinge loss."""

from typing import ClassVar, Literal

from contract.plugin import Loss


class Hinge(Loss):
    """The discriminator pushes reals above 1 and fakes below -1; the generator maximises its scores.

    L_D = E max(0, 1 − s(x)) + E max(0, 1 + s(G(z))), L_G = −E s(G(z)). Miyato et al. 2018, arXiv 1802.05957,
    equations 16 and 17.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False
    discriminator_steps: ClassVar[int] = 1

    kind: Literal["hinge"] = "hinge"
