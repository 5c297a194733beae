"""The minimax loss (Goodfellow et al. 2014, arXiv 1406.2661, equation 1), on logits s.

With D = sigmoid(s): −log D = softplus(−s) and log(1 − D) = −softplus(s), which cannot overflow.
"""

from torch import Tensor
from torch.nn.functional import softplus

from models.game import Objective


class Minimax(Objective):
    """Both players optimise the value V(D, G); the generator's loss is unbounded below."""

    scores_are_logits = True

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return softplus(-real_scores).mean() + softplus(fake_scores).mean()

    def generator_loss(self, fake_scores: Tensor, *, real_scores: Tensor | None = None) -> Tensor:
        return -softplus(fake_scores).mean()
