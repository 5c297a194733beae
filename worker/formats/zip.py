"""Zip: every tile as a PNG file of its own, the bytes that its address gives."""

import numpy as np
from numpy.typing import NDArray

from contract.sampling import SampleSpec
from worker.formats.archive import archive
from worker.formats.png import encode_png


def encode_zip(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C) as files that are named by their place and seed, if they have one."""
    return archive(
        (_name(index, alone), encode_png(tiles[index : index + 1], alone))
        for index, alone in enumerate(spec.tiles())
    )


def _name(index: int, alone: SampleSpec) -> str:
    return "-".join([f"{index:04}", *map(str, alone.seeds)]) + ".png"
