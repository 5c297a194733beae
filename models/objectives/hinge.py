"""The hinge loss (Miyato et al. 2018, arXiv 1802.05957, equations 16 and 17)."""

from torch import Tensor
from torch.nn.functional import relu

from models.game import Objective


class Hinge(Objective):
    """Scores beyond the margin of ±1 no longer train the discriminator."""

    scores_are_logits = False

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return relu(1 - real_scores).mean() + relu(1 + fake_scores).mean()

    def generator_loss(self, fake_scores: Tensor, *, real_scores: Tensor | None = None) -> Tensor:
        return -fake_scores.mean()
