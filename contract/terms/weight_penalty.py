"""Parameters of the penalty on the discriminator's weights."""

from typing import ClassVar, Literal

from pydantic import Field, StrictFloat

from contract.plugin import Loss


class WeightPenalty(Loss):
    """Adds λ‖θ‖² to the discriminator's loss: θ are all its parameters.

    As in the article; with λ/2 it is the weight decay of Krogh and Hertz 1991, NIPS 4.
    """

    JUDGES_IMAGES_ALONE: ClassVar[bool] = False

    kind: Literal["weight_penalty"] = "weight_penalty"
    weight: StrictFloat = Field(1e-4, ge=0, le=1, description="λ.")
