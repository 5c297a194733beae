"""Parameters of differentiable augmentation."""

from pydantic import Field, StrictBool, StrictFloat

from contract.plugin import Frozen


class DiffAugment(Frozen):
    """Changes every image that the discriminator sees, real or fake, so that it cannot memorise them.

    The generator learns through the changes and does not copy them. Zhao et al. 2020, arXiv 2006.10738,
    section 3.2.
    """

    strength: StrictFloat = Field(
        1.0, ge=0, le=1, description="Strength of every change: 1 is the paper's, 0 changes nothing."
    )
    color: StrictBool = Field(default=True, description="Change brightness, saturation and contrast.")
    translation: StrictBool = Field(default=True, description="Shift by up to an eighth of the side.")
    cutout: StrictBool = Field(default=True, description="Blank a square of up to half the side.")
