"""WGAN-GP (Gulrajani et al. 2017, arXiv 1704.00028, equation 3 and algorithm 1)."""

from torch import Tensor

from contract import objectives as parameters
from models.game import DiscriminatorTerm, Exchange, Objective
from models.penalties import gradient_norms


class WganGp(Objective):
    """The critic's scores estimate the distance between the two distributions; they are not probabilities."""

    scores_are_logits = False
    wants_sure_discriminator = True

    def __init__(self, parameters: parameters.WganGp) -> None:
        self.discriminator_terms = (GradientPenalty(parameters.gradient_penalty),)

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return fake_scores.mean() - real_scores.mean()

    def generator_loss(self, fake_scores: Tensor, *, real_scores: Tensor | None = None) -> Tensor:
        return -fake_scores.mean()


class GradientPenalty(DiscriminatorTerm):
    """λ E(‖∇D(x)‖ − 1)², each x a random point between a real and a fake."""

    name = "gradient_penalty"
    differentiates_gradients = True

    def __init__(self, weight: float) -> None:
        self._weight = weight

    def loss(self, exchange: Exchange) -> Tensor:
        between = exchange.fake.lerp(exchange.real, exchange.mix)  # (N, C, R, R)
        return self._weight * (gradient_norms(exchange.discriminator, between) - 1).square().mean()
