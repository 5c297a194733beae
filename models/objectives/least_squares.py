"""The least-squares loss (Mao et al. 2017, arXiv 1611.04076, equation 9: a = 0, b = c = 1)."""

from torch import Tensor

from models.game import Objective


class LeastSquares(Objective):
    """Regresses scores to targets instead of classifying them, so that distant ones keep a gradient."""

    scores_are_logits = False

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return ((real_scores - 1).square().mean() + fake_scores.square().mean()) / 2

    def generator_loss(self, fake_scores: Tensor, *, real_scores: Tensor | None = None) -> Tensor:
        return (fake_scores - 1).square().mean() / 2
