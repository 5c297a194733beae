"""Parameters of the R1 penalty."""

from typing import ClassVar, Literal

from pydantic import Field

from contract.plugin import Frozen


class R1(Frozen):
    """Adds γ/2 E‖∇s(x)‖² at real images to the discriminator's loss; it then has no batch norm.

    Mescheder et al. 2018, arXiv 1801.04406, equation 9.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = True

    kind: Literal["r1"] = "r1"
    gamma: float = Field(0.05, ge=0, le=10_000, description="Weight γ; more for larger images.")
    every_steps: int = Field(
        4, ge=1, le=64, description="Computed every so many steps, and that much stronger."
    )
