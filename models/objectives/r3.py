"""The R3GAN loss (Huang et al. 2024, arXiv 2501.05441): relativistic pairs with R1 and R2.

A relativistic discriminator scores a real against a fake (Jolicoeur-Martineau 2018, arXiv 1807.00734), so its
scores have no absolute zero.
"""

from torch import Tensor
from torch.nn.functional import softplus

from contract import objectives as parameters
from models.game import Objective
from models.penalties import ZeroCentred, fakes, reals


class R3(Objective):
    """Pairs each real with a fake: the discriminator widens their gap in score, the generator reverses it."""

    scores_are_logits = False
    compares_pairs = True

    def __init__(self, parameters: parameters.R3) -> None:
        every = parameters.penalty_every_steps
        self.discriminator_terms = (
            ZeroCentred("r1", reals, parameters.gamma_at, every),
            ZeroCentred("r2", fakes, parameters.gamma_at, every),
        )

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return softplus(fake_scores - real_scores).mean()

    def generator_loss(self, fake_scores: Tensor, *, real_scores: Tensor | None = None) -> Tensor:
        assert real_scores is not None
        return softplus(real_scores - fake_scores).mean()
