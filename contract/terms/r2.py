"""Parameters of the R2 penalty."""

from typing import Literal

from pydantic import Field, StrictInt

from contract.penalties import ZeroCentred


class R2(ZeroCentred):
    """Adds γ/2 E‖∇s(G(z))‖² at generated images to the discriminator's loss; it then has no batch norm.

    Mescheder et al. 2018, arXiv 1801.04406, equation 10.
    """

    kind: Literal["r2"] = "r2"
    every_steps: StrictInt = Field(
        4, ge=1, le=64, description="Computed every so many steps, and that much stronger."
    )
