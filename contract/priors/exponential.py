"""Parameters of the exponential prior."""

from typing import Literal

from contract.plugin import Frozen


class Exponential(Frozen):
    """Independent exponential coordinates less their mean: zero mean and unit variance at any rate."""

    kind: Literal["exponential"] = "exponential"
