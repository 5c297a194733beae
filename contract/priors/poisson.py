"""Parameters of the Poisson prior."""

from typing import ClassVar, Literal

from pydantic import Field, StrictFloat

from contract.plugin import Frozen


class Poisson(Frozen):
    """Independent Poisson counts, standardised to zero mean and unit variance.

    Quantile (k − λ) / √λ, where k is the smallest count whose distribution function reaches u: by inversion,
    Devroye 1986, "Non-uniform random variate generation", III.2.
    """

    HAS_A_MIDDLE: ClassVar[bool] = True

    kind: Literal["poisson"] = "poisson"
    rate: StrictFloat = Field(
        4.0, ge=0.1, le=100, description="Mean of the counts before they are standardised."
    )
