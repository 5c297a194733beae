"""The objectives: parameters live in `contract`, losses here, in files of the same name."""

from collections.abc import Callable, Mapping

from contract import objectives as parameters
from models.game import Objective
from models.objectives.hinge import Hinge
from models.objectives.least_squares import LeastSquares
from models.objectives.minimax import Minimax
from models.objectives.non_saturating import NonSaturating
from models.objectives.r3 import R3
from models.objectives.wgan_gp import WganGp

OBJECTIVES: Mapping[type, Callable[..., Objective]] = {
    parameters.Minimax: Minimax,
    parameters.NonSaturating: NonSaturating,
    parameters.LeastSquares: LeastSquares,
    parameters.Hinge: Hinge,
    parameters.WganGp: WganGp,
    parameters.R3: R3,
}


def build(objective: parameters.Objective) -> Objective:
    """The maths of an objective."""
    return OBJECTIVES[type(objective)](objective)


__all__ = ["OBJECTIVES", "Objective", "build"]
