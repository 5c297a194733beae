"""The objectives a job can choose: one file each, joined in this union on `kind`.

`JUDGES_IMAGES_ALONE` is true if the loss applies to each image by itself, so that the discriminator must not
mix the images of a batch: `resolve` then gives it no batch norm, and refuses an explicit one.
`discriminator_steps` are the batches that the discriminator learns from for each step of the generator.
"""

from typing import Annotated

from pydantic import Field

from contract.objectives.hinge import Hinge
from contract.objectives.least_squares import LeastSquares
from contract.objectives.minimax import Minimax
from contract.objectives.non_saturating import NonSaturating
from contract.objectives.r3 import R3
from contract.objectives.wgan_gp import WganGp
from contract.plugin import KindShorthand

Objective = Annotated[
    Minimax | NonSaturating | LeastSquares | Hinge | WganGp | R3,
    Field(discriminator="kind"),
    KindShorthand,
]

__all__ = ["R3", "Hinge", "LeastSquares", "Minimax", "NonSaturating", "Objective", "WganGp"]
