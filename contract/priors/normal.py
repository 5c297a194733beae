"""Parameters of the standard normal prior."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class Normal(Frozen):
    """Independent standard normal coordinates, zero mean and unit variance.

    Quantile Φ⁻¹(u): Wichura 1988, Applied Statistics 37, algorithm AS 241.
    """

    HAS_A_MIDDLE: ClassVar[bool] = True

    kind: Literal["normal"] = "normal"
