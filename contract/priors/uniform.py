"""Parameters of the uniform prior."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class Uniform(Frozen):
    """Independent coordinates, uniform on [-√3, √3]: zero mean and unit variance."""

    HAS_A_MIDDLE: ClassVar[bool] = True

    kind: Literal["uniform"] = "uniform"
