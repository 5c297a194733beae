"""NumPy's archive, without pickle: the pixels, and the floats that they were rounded from."""

import io

import numpy as np
import torch
from numpy.typing import NDArray

from contract.sampling import SampleSpec
from models.pixels import to_pixels
from worker.formats.archive import archive


def encode_npz(images: NDArray[np.float32], spec: SampleSpec) -> bytes:
    """Encode images (N, C, R, R) as `pixels` and `numbers` (N, R, R, C), `seeds` (N,) or (0,), `digest`."""
    numbers = images.transpose(0, 2, 3, 1)
    arrays = {
        "pixels": to_pixels(torch.from_numpy(numbers)).numpy(),
        "numbers": numbers,
        "seeds": np.array(spec.seeds, dtype=np.int64),
        "digest": np.array(spec.digest),
    }
    return archive((f"{name}.npy", _npy(array)) for name, array in arrays.items())


def _npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    in_order = np.asarray(array, order="C")
    np.lib.format.write_array(buffer, in_order, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
