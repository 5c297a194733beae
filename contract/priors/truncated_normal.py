"""Parameters of the truncated normal prior."""

from typing import ClassVar, Literal

from pydantic import Field, StrictFloat

from contract.plugin import Frozen


class TruncatedNormal(Frozen):
    """Independent normal coordinates without their tails, rescaled to unit variance.

    Quantile Φ⁻¹(Φ(−b) + u Z) / σ, with Z = Φ(b) − Φ(−b) and σ² = 1 − 2bφ(b)/Z: Johnson, Kotz and Balakrishnan
    1994, "Continuous univariate distributions", volume 1, 13.10.1.
    """

    HAS_A_MIDDLE: ClassVar[bool] = True

    kind: Literal["truncated_normal"] = "truncated_normal"
    bound: StrictFloat = Field(
        2.0, ge=0.5, le=5, description="Where both tails are cut, in standard deviations."
    )
