"""Parameters of the non-saturating loss (Goodfellow et al. 2014, arXiv 1406.2661, section 3)."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class NonSaturating(Frozen):
    """Binary cross-entropy on logits; the generator maximises log D(G(z))."""

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False

    kind: Literal["non_saturating"] = "non_saturating"
