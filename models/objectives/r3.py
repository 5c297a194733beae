"""The R3GAN loss (Huang et al. 2024, arXiv 2501.05441): relativistic pairs with R1 and R2.

A relativistic discriminator scores a real against a fake (Jolicoeur-Martineau 2018, arXiv 1807.00734), so its
scores have no absolute zero.
"""

from torch import Tensor
from torch.nn.functional import softplus

from contract import objectives as parameters
from models.game import Objective
from models.penalties import ZeroCentred, fakes, reals

GAMMAS = {32: 0.05, 64: 1.0, 128: 20.0, 256: 150.0}
"""γ by resolution: the score's slope per pixel falls as the number of pixels grows.

The paper's code (github.com/brownvc/R3GAN, train.py) begins with these for CIFAR-10, ImageNet-64 and
FFHQ-256, and lowers each tenfold over the run; the value for 128 px is not from there. Here γ is constant,
and by default the penalties are computed every fourth step, four times as strong, instead of in every step.
"""


class R3(Objective):
    """Pairs each real with a fake: the discriminator widens their gap in score, the generator reverses it."""

    scores_are_logits = False
    compares_pairs = True

    def __init__(self, parameters: parameters.R3) -> None:
        self.parameters = parameters
        every = parameters.penalty_every_steps
        self.discriminator_terms = (
            ZeroCentred("r1", reals, self._gamma, every),
            ZeroCentred("r2", fakes, self._gamma, every),
        )

    def discriminator_loss(self, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
        return softplus(fake_scores - real_scores).mean()

    def generator_loss(self, fake_scores: Tensor, *, real_scores: Tensor | None = None) -> Tensor:
        assert real_scores is not None
        return softplus(real_scores - fake_scores).mean()

    def _gamma(self, resolution: int) -> float:
        return GAMMAS[resolution] if self.parameters.gamma is None else self.parameters.gamma
