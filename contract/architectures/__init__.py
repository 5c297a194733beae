"""The architectures a job can choose: one file each, joined in this union on `kind`."""

from typing import Annotated

from contract.architectures.dcgan import Dcgan
from contract.architectures.pair import Norm, Pair
from contract.plugin import KindShorthand

Architecture = Annotated[Dcgan, KindShorthand]

__all__ = ["Architecture", "Dcgan", "Norm", "Pair"]
