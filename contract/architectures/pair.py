"""The options that all families of networks share, and how open choices are settled."""

from typing import ClassVar, Literal, Self

from pydantic import Field, StrictInt

from contract.plugin import Frozen

Norm = Literal["batch", "spectral", "none"]
"""How the discriminator is normalised: batch norm, spectral norm of every kernel, or not at all."""


class Pair(Frozen):
    """A generator and a discriminator. Families differ in their layers, sizes and usual norm."""

    RESOLUTIONS: ClassVar[tuple[int, ...]]
    USUAL_NORM: ClassVar[Norm]
    """What `auto` means, unless a loss judges images alone: then it means `none`."""

    kind: str
    latent_size: StrictInt = Field(128, ge=2, le=1024, description="Length Z of the latent vector.")
    generator_width: StrictInt = Field(
        64, ge=4, le=512, description="Channels of the generator's last hidden layer."
    )
    discriminator_width: StrictInt = Field(
        64, ge=4, le=512, description="Channels of the discriminator's first layer."
    )
    discriminator_norm: Literal["auto"] | Norm = Field(
        "auto",
        description="In the discriminator: batch norm, (x − E x)/√(Var x + ε) over a batch (Ioffe and "
        "Szegedy 2015, arXiv 1502.03167); spectral norm, every kernel W as W/σ(W), σ its largest singular "
        "value by one power iteration per step (Miyato et al. 2018, arXiv 1802.05957, algorithm 1); or none. "
        "`auto` is the family's usual norm, and none where a loss judges images alone (wgan_gp, r3, r1, r2).",
    )

    @property
    def norm(self) -> Norm:
        """The normalisation that the discriminator is built with.

        `resolve` leaves `auto` in no spec. Specs from before this option existed lack the field and use the
        usual norm, whatever the objective.
        """
        return self.USUAL_NORM if self.discriminator_norm == "auto" else self.discriminator_norm

    def settled(self, *, judges_images_alone: bool) -> Self:
        """A copy with no choice left open."""
        if self.discriminator_norm != "auto":
            return self
        norm = "none" if judges_images_alone else self.USUAL_NORM
        return self.model_copy(update={"discriminator_norm": norm})
