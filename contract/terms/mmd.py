"""Parameters of the kernel MMD term (Gretton et al. 2012; Bińkowski et al. 2018, arXiv 1801.01401)."""

from typing import ClassVar, Literal

from pydantic import Field

from contract.plugin import Frozen


class Mmd(Frozen):
    """Adds the squared maximum mean discrepancy between reals and fakes to the generator's loss.

    Unbiased, with a mixture of rational-quadratic kernels, on the discriminator's features or on pixels.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False

    kind: Literal["mmd"] = "mmd"
    weight: float = Field(
        0.5, ge=0, le=1, description="Weight with which it is added to the generator's loss."
    )
    on: Literal["features", "pixels"] = Field(
        "features", description="What is compared: the discriminator's last features, or the pixels."
    )
