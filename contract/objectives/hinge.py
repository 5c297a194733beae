"""Parameters of the hinge loss (Miyato et al. 2018, arXiv 1802.05957, equations 16 and 17)."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class Hinge(Frozen):
    """The discriminator pushes reals above 1 and fakes below -1; the generator maximises its scores."""

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False

    kind: Literal["hinge"] = "hinge"
