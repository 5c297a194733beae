"""The result of exporting a generator."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Exported:
    """An exported program."""

    content: bytes
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Runs the program as loaded from `content`."""
    tolerance: float
    """The largest allowed difference from our images."""
