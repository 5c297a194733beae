"""Parameters of differentiable augmentation."""

from pydantic import Field

from contract.plugin import Frozen


class DiffAugment(Frozen):
    """Changes every image that the discriminator sees, real or fake, so that it cannot memorise them.

    The generator learns through the changes and does not copy them. Zhao et al. 2020, arXiv 2006.10738,
    section 3.2.
    """

    strength: float = Field(
        1.0, ge=0, le=1, description="Strength of every change: 1 is the paper's, 0 changes nothing."
    )
    color: bool = Field(default=True, description="Change brightness, saturation and contrast.")
    translation: bool = Field(default=True, description="Shift by up to an eighth of the side.")
    cutout: bool = Field(default=True, description="Blank a square of up to half the side.")
