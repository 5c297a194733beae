"""The penalty on the discriminator's weights."""

import torch
from torch import Tensor

from contract import terms as parameters
from models.game import DiscriminatorTerm, Exchange


class WeightPenalty(DiscriminatorTerm):
    """λ‖θ‖² over every parameter of the discriminator."""

    name = "weight_penalty"
    differentiates_gradients = False

    def __init__(self, parameters: parameters.WeightPenalty) -> None:
        self.parameters = parameters

    def loss(self, exchange: Exchange) -> Tensor:
        norms = torch._foreach_norm(list(exchange.discriminator.parameters()))  # noqa: SLF001 - one kernel
        return self.parameters.weight * torch.stack(norms).square().sum()
