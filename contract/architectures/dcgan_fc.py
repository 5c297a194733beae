"""Parameters of the article's networks: one fully connected layer and four convolutions each."""

from typing import ClassVar, Literal

from pydantic import Field

from contract.architectures.pair import Norm, Pair


class DcganFc(Pair):
    """The article's pair: few layers, of which the fully connected one holds most of the weights.

    The generator's makes squares of a quarter of the resolution with twice its width in channels: 1, 4 or 17
    million weights at 32, 64 or 128 px, widths of 64 and latents of 128.
    """

    RESOLUTIONS: ClassVar[tuple[int, ...]] = (32, 64, 128)
    USUAL_NORM: ClassVar[Norm] = "none"

    kind: Literal["dcgan_fc"] = "dcgan_fc"
    generator_width: int = Field(
        64, ge=4, le=512, description="The article's ngf: channels of the generator's last hidden layer."
    )
    discriminator_width: int = Field(
        32,
        ge=4,
        le=512,
        description="The article's ndf: channels of the discriminator's first layer; the second, third and "
        "fourth have twice, four and eight times as many.",
    )
