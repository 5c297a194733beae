"""The objectives a job can choose: one file each, joined in this union on `kind`."""

from typing import Annotated

from contract.objectives.non_saturating import NonSaturating
from contract.plugin import KindShorthand

Objective = Annotated[NonSaturating, KindShorthand]

__all__ = ["NonSaturating", "Objective"]
