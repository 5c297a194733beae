"""Parameters of the residual networks of the WGAN-GP and SNGAN papers."""

from typing import ClassVar, Literal

from pydantic import Field, StrictInt

from contract.architectures.pair import Norm, Pair


class Resnet(Pair):
    """Residual blocks y = S(x) + F(x) that upsample or pool, between 4×4 features and the image.

    F is twice norm, ReLU and a 3×3 convolution, S a 1×1 convolution. The generator upsamples in both, and
    ends in tanh of one more convolution; the discriminator takes means of 2×2 in both, and scores the sum
    over the pixels.

    A width is the number of channels of the block nearest the image; it doubles with each halving of the
    resolution, up to eight times. The papers use 64 and more, on GPUs. Gulrajani et al. 2017, arXiv
    1704.00028; Miyato et al. 2018, arXiv 1802.05957.
    """

    RESOLUTIONS: ClassVar[tuple[int, ...]] = (32, 64, 128)
    USUAL_NORM: ClassVar[Norm] = "spectral"

    kind: Literal["resnet"] = "resnet"
    generator_width: StrictInt = Field(
        32, ge=4, le=512, description="Channels of the generator's last block; the papers take 64 and more."
    )
    discriminator_width: StrictInt = Field(
        32,
        ge=4,
        le=512,
        description="Channels of the discriminator's first block; the papers take 64 and more.",
    )
