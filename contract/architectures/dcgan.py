"""Parameters of the DCGAN networks."""

from typing import ClassVar, Literal

from contract.architectures.pair import Norm, Pair


class Dcgan(Pair):
    """All-convolutional generator and discriminator: strided, transposed, batch-normalised.

    A width is the number of channels of the hidden layer nearest the image; it doubles with each halving of
    the resolution, up to eight times. A layer of the generator is ReLU(BN(W * x)), with transposed kernels W
    of 4×4 and stride 2, the last tanh(W * x). A layer of the discriminator is LeakyReLU(norm(W * x)), with
    slope 0.2 and strided kernels, the first without batch norm, and the last the score W * x. Radford et al.
    2016, arXiv 1511.06434, section 3.
    """

    RESOLUTIONS: ClassVar[tuple[int, ...]] = (32, 64, 128, 256)
    USUAL_NORM: ClassVar[Norm] = "batch"

    kind: Literal["dcgan"] = "dcgan"
