"""Terms that can be added to the losses of any objective: one file each, joined in this union on `kind`."""

from typing import Annotated

from pydantic import Field

from contract.plugin import KindShorthand
from contract.terms.mmd import Mmd
from contract.terms.r1 import R1
from contract.terms.r2 import R2
from contract.terms.weight_penalty import WeightPenalty

Term = Annotated[Mmd | WeightPenalty | R1 | R2, Field(discriminator="kind"), KindShorthand]

__all__ = ["R1", "R2", "Mmd", "Term", "WeightPenalty"]
