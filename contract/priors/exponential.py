"""Parameters of the exponential prior."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class Exponential(Frozen):
    """Independent exponential coordinates less their mean: zero mean and unit variance, whatever the rate."""

    HAS_A_MIDDLE: ClassVar[bool] = True

    kind: Literal["exponential"] = "exponential"
