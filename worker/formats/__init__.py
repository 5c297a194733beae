"""How rendered pixels become bytes: one file a format, joined in this registry."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from contract.sampling import SampleFormat, SampleSpec
from worker.formats.png import encode_png

Encode = Callable[[NDArray[np.uint8], SampleSpec], bytes]

FORMATS: dict[SampleFormat, Encode] = {"png": encode_png}

ENCODERS_VERSION = 1
"""Part of the renderer: raised when any format's bytes change for the same pixels."""

__all__ = ["ENCODERS_VERSION", "FORMATS", "Encode"]
