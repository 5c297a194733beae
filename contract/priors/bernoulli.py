"""Parameters of the Bernoulli prior."""

from typing import ClassVar, Literal

from pydantic import Field, StrictFloat

from contract.plugin import Frozen


class Bernoulli(Frozen):
    """Independent coordinates of two values, standardised to zero mean and unit variance.

    Quantile (k − p) / √(p(1 − p)), where k is 0 for u < 1 − p, else 1: by inversion, Devroye 1986,
    "Non-uniform random variate generation", III.2.
    """

    HAS_A_MIDDLE: ClassVar[bool] = False

    kind: Literal["bernoulli"] = "bernoulli"
    probability: StrictFloat = Field(0.5, ge=0.01, le=0.99, description="Probability of the higher value.")
