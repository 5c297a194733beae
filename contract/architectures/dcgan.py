"""Parameters of the DCGAN networks (Radford et al. 2016, arXiv 1511.06434)."""

from typing import ClassVar, Literal

from pydantic import Field

from contract.plugin import Frozen


class Dcgan(Frozen):
    """All-convolutional generator and discriminator: strided, transposed, batch-normalised.

    A width is that of the hidden layer nearest the image; it doubles with each halving of the
    resolution, up to eight times.
    """

    RESOLUTIONS: ClassVar[tuple[int, ...]] = (32, 64, 128)

    kind: Literal["dcgan"] = "dcgan"
    latent_size: int = Field(128, ge=2, le=1024, description="Length Z of the latent vector.")
    generator_width: int = Field(
        64, ge=4, le=512, description="Channels of the generator's last hidden layer."
    )
    discriminator_width: int = Field(
        64, ge=4, le=512, description="Channels of the discriminator's first layer."
    )
