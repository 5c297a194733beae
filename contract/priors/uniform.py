"""Parameters of the uniform prior."""

from typing import ClassVar, Literal

from contract.plugin import Frozen


class Uniform(Frozen):
    """Independent coordinates, uniform on [-√3, √3]: zero mean and unit variance.

    Quantile 2√3 (u − ½). The prior of Radford et al. 2016, arXiv 1511.06434, figure 1, but for its width.
    """

    HAS_A_MIDDLE: ClassVar[bool] = True

    kind: Literal["uniform"] = "uniform"
