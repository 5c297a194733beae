"""Parameters of the R3GAN loss."""

from typing import ClassVar, Literal

from pydantic import Field, StrictInt

from contract.penalties import ZeroCentred


class R3(ZeroCentred):
    """Relativistic pairs, with zero-centred gradient penalties on reals (R1) and on fakes (R2).

    The penalties are on single images, so the discriminator has no batch norm.
    L_D = E softplus(s(G(z)) − s(x)) + γ/2 E‖∇s(x)‖² + γ/2 E‖∇s(G(z))‖², L_G = E softplus(s(x) − s(G(z))).
    Huang et al. 2024, arXiv 2501.05441, section 2.

    The usual γ at 32, 64 and 256 px is the one with which the paper's code begins. There it falls tenfold
    over the run; here it is constant.
    """

    discriminator_steps: ClassVar[int] = 1

    kind: Literal["r3"] = "r3"
    penalty_every_steps: StrictInt = Field(
        4, ge=1, le=64, description="Penalties are computed every so many steps, and are that much stronger."
    )
