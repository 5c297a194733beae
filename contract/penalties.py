"""The weight of penalties on the gradient of single images' scores, and how it is settled."""

from typing import ClassVar, Self

from pydantic import Field, StrictFloat

from contract.plugin import Loss

GAMMAS = {32: 0.05, 64: 1.0, 128: 20.0, 256: 150.0}
"""γ by resolution: the score's slope per pixel falls as the number of pixels grows.

R3GAN's code (github.com/brownvc/R3GAN, train.py) begins with these for CIFAR-10, ImageNet-64 and FFHQ-256,
and lowers each tenfold over the run; the value for 128 px is not from there. Here γ is constant, and by
default the penalties are computed every fourth step, four times as strong, instead of in every step.
"""


class ZeroCentred(Loss):
    """A loss that contains γ/2 E‖∇s‖²."""

    JUDGES_IMAGES_ALONE: ClassVar[bool] = True

    kind: str
    gamma: StrictFloat | None = Field(
        None,
        ge=0,
        le=10_000,
        description="Each penalty has weight γ/2; null uses 0.05, 1, 20, 150 at 32, 64, 128, 256 px.",
    )

    def settled(self, resolution: int) -> Self:
        return self.model_copy(update={"gamma": self.gamma_at(resolution)})

    def gamma_at(self, resolution: int) -> float:
        """γ, null or not: `r3` has it open in specs from before `resolve` settled it."""
        return GAMMAS[resolution] if self.gamma is None else self.gamma
