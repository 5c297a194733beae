"""Parameters of the article's networks: one fully connected layer and four convolutions each."""

from typing import ClassVar, Literal

from pydantic import Field, StrictInt

from contract.architectures.pair import Norm, Pair


class DcganFc(Pair):
    """The article's pair: few layers, with most of the weights in the fully connected one.

    Generator: LeakyReLU(Wz), then twice a 2×2 transposed convolution of stride 2 and a 3×3 convolution, each
    with LeakyReLU but the last, which ends in tanh. Discriminator: four times MaxPool₂(LeakyReLU(W * x)),
    then the score Wx. The generator's first layer outputs squares of a quarter of the resolution with twice
    its width in channels: 1, 4 or 17 million weights at 32, 64 or 128 px, for a width of 64 and latents of
    128. The article describes layers, not their start: kernels are initialised as in He et al. 2015, arXiv
    1502.01852, section 2.2.
    """

    RESOLUTIONS: ClassVar[tuple[int, ...]] = (32, 64, 128)
    USUAL_NORM: ClassVar[Norm] = "none"

    kind: Literal["dcgan_fc"] = "dcgan_fc"
    generator_width: StrictInt = Field(
        64, ge=4, le=512, description="The article's ngf: channels of the generator's last hidden layer."
    )
    discriminator_width: StrictInt = Field(
        32,
        ge=4,
        le=512,
        description="The article's ndf: channels of the discriminator's first layer; the second, third and "
        "fourth have twice, four and eight times as many.",
    )
