"""Parameters of the kernel MMD term."""

from typing import ClassVar, Literal

from pydantic import Field, StrictFloat

from contract.plugin import Loss


class Mmd(Loss):
    """Adds the squared maximum mean discrepancy between reals and fakes to the generator's loss.

    Unbiased (Gretton et al. 2012, JMLR 13, equation 3), on the discriminator's features or on pixels. The
    kernel is Σ_α (1 + d²/2α)^(−α), α in 0.2, 0.5, 1, 2, 5 (Bińkowski et al. 2018, arXiv 1801.01401, section
    3.1), where d² is the mean of the squared differences of coordinates.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False

    kind: Literal["mmd"] = "mmd"
    weight: StrictFloat = Field(
        0.5, ge=0, le=1, description="Weight with which it is added to the generator's loss."
    )
    on: Literal["features", "pixels"] = Field(
        "features", description="What is compared: the discriminator's last features, or the pixels."
    )
