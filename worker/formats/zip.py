"""Zip: every tile as its own PNG file, with the bytes that its address returns."""

import numpy as np
from numpy.typing import NDArray

from contract.sampling import SampleSpec
from worker.formats.archive import archive
from worker.formats.png import encode_png


def encode_zip(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C) as files named by their index and, if they have one, their seed."""
    return archive(
        (_name(index, alone), encode_png(tiles[index : index + 1], alone))
        for index, alone in enumerate(spec.tiles())
    )


def _name(index: int, alone: SampleSpec) -> str:
    return "-".join([f"{index:04}", *map(str, alone.seeds)]) + ".png"
