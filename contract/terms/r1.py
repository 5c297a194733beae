"""Parameters of the R1 penalty."""

from typing import Literal

from pydantic import Field, StrictInt

from contract.penalties import ZeroCentred


class R1(ZeroCentred):
    """Adds γ/2 E‖∇s(x)‖² at real images to the discriminator's loss; it then has no batch norm.

    Mescheder et al. 2018, arXiv 1801.04406, equation 9.
    """

    kind: Literal["r1"] = "r1"
    every_steps: StrictInt = Field(
        4, ge=1, le=64, description="Computed every so many steps, and that much stronger."
    )
