"""Parameters of the uniform prior."""

from typing import Literal

from contract.plugin import Frozen


class Uniform(Frozen):
    """Independent coordinates, uniform on [-√3, √3]: zero mean and unit variance."""

    kind: Literal["uniform"] = "uniform"
