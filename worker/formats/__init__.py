"""Encodes rendered samples: one module per format, collected in these registries.

Most formats need only the pixels. Those in the second registry get the floats before rounding, which are kept
only for them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from contract.formats import SampleFormat
from contract.sampling import SampleSpec
from worker.formats.json import encode_json
from worker.formats.npz import encode_npz
from worker.formats.png import encode_png
from worker.formats.webp import encode_webp
from worker.formats.zip import encode_zip

Encode = Callable[[NDArray[np.uint8], SampleSpec], bytes]
"""Tiles (N, R, R, C) to a file."""
EncodeNumbers = Callable[[NDArray[np.float32], SampleSpec], bytes]
"""Images (N, C, R, R) in [-1, 1] to a file."""

FORMATS: dict[SampleFormat, Encode] = {
    "png": encode_png,
    "webp": encode_webp,
    "json": encode_json,
    "zip": encode_zip,
}
FORMATS_OF_NUMBERS: dict[SampleFormat, EncodeNumbers] = {"npz": encode_npz}

__all__ = ["FORMATS", "FORMATS_OF_NUMBERS", "Encode", "EncodeNumbers"]
