"""Parameters of the standard normal prior."""

from typing import Literal

from contract.plugin import Frozen


class Normal(Frozen):
    """Independent standard normal coordinates, zero mean and unit variance."""

    kind: Literal["normal"] = "normal"
