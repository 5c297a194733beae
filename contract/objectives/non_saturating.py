"""Parameters of the non-saturating loss."""

from typing import ClassVar, Literal

from contract.plugin import Loss


class NonSaturating(Loss):
    """Binary cross-entropy on logits; the generator maximises log D(G(z)).

    L_D = −E log D(x) − E log(1 − D(G(z))), L_G = −E log D(G(z)). Goodfellow et al. 2014, arXiv 1406.2661,
    section 3.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False
    discriminator_steps: ClassVar[int] = 1

    kind: Literal["non_saturating"] = "non_saturating"
