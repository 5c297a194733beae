"""Parameters of the exponential prior."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class Exponential(Frozen):
    """Independent exponential coordinates less their mean: zero mean and unit variance, whatever the rate.

    Quantile −log(1 − u) − 1: by inversion, Devroye 1986, "Non-uniform random variate generation", II.2.
    """

    HAS_A_MIDDLE: ClassVar[bool] = True

    kind: Literal["exponential"] = "exponential"
