"""What a generator becomes when it is exported."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Exported:
    """A program for others to run."""

    content: bytes
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """The program as it is when read from `content`."""
    tolerance: float
    """How far its images may be from ours."""
