"""Parameters of WGAN-GP."""

from typing import ClassVar, Literal

from pydantic import Field, StrictFloat, StrictInt

from contract.plugin import Loss


class WganGp(Loss):
    """Wasserstein distance with a penalty on the critic's slope between reals and fakes.

    The penalty is on the slope at single images, so the critic has no batch norm. The paper uses Adam with a
    learning rate of 1e-4, beta1 0 (0.5 in the table of its ResNets) and beta2 0.9, as set by the preset
    `wgan-gp`.
    L_D = E s(G(z)) − E s(x) + λ E(‖∇s(x̂)‖ − 1)² with x̂ = εx + (1 − ε)G(z), L_G = −E s(G(z)). Gulrajani et al.
    2017, arXiv 1704.00028, equation 3 and algorithm 1.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = True

    kind: Literal["wgan_gp"] = "wgan_gp"
    critic_steps: StrictInt = Field(
        5, ge=1, le=20, description="Batches that the critic learns from for each step of the generator."
    )
    gradient_penalty: StrictFloat = Field(
        10.0, ge=0, le=1000, description="Weight λ of the penalty (‖∇D‖ - 1)² between reals and fakes."
    )

    @property
    def discriminator_steps(self) -> int:
        return self.critic_steps
