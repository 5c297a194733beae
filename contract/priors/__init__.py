"""The latent distributions a job can choose: one file each, joined in this union on `kind`."""

from typing import Annotated

from contract.plugin import KindShorthand
from contract.priors.normal import Normal

Prior = Annotated[Normal, KindShorthand]

__all__ = ["Normal", "Prior"]
