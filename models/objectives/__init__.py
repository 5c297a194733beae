"""The objectives. Parameters in the contract, the losses here: two files of one name, joined below."""

from typing import Protocol

from torch import Tensor

from contract import objectives as parameters
from models.objectives.non_saturating import NonSaturating


class Objective(Protocol):
    """What the two players minimise. Scores are logits (N,) in float32; losses are scalars."""

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        """Low when reals score high and fakes low."""

    def generator_loss(self, fake_scores: Tensor) -> Tensor:
        """Low when fakes score high."""


OBJECTIVES = {parameters.NonSaturating: NonSaturating}


def build(objective: parameters.Objective) -> Objective:
    """The maths of an objective."""
    return OBJECTIVES[type(objective)](objective)
