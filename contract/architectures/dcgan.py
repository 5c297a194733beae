"""Parameters of the DCGAN networks."""

from typing import ClassVar, Literal

from contract.architectures.pair import Norm, Pair


class Dcgan(Pair):
    """All-convolutional generator and discriminator: strided, transposed, batch-normalised.

    A width is the number of channels of the hidden layer nearest the image; it doubles with each halving of
    the resolution, up to eight times. Radford et al. 2016, arXiv 1511.06434.
    """

    RESOLUTIONS: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    USUAL_NORM: ClassVar[Norm] = "batch"

    kind: Literal["dcgan"] = "dcgan"
