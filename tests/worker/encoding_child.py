"""Prints a hash of what every format writes for some sheets. Run by `test_encoders.py`."""

import sys
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from contract.formats import FORMS
from contract.sampling import SampleOptions, SampleSpec
from worker.formats import FORMATS_OF_NUMBERS
from worker.rendering import encode

SHEET = 16


def main(sheets: int) -> None:
    tiles = _tiles(SHEET + sheets)
    found = sha256()
    for first in range(sheets):
        for name in FORMS:
            columns = first % SHEET + 1 if FORMS[name].holds == "a sheet" else None
            options = SampleOptions(columns=columns)
            spec = SampleSpec.of_seeds("sha256:" + "0" * 64, name, range(first, first + SHEET), options)
            images = tiles[first : first + SHEET]
            found.update(encode(_numbers(images) if name in FORMATS_OF_NUMBERS else images, spec))
    sys.stdout.write(found.hexdigest())


def _tiles(count: int) -> NDArray[np.uint8]:
    """Noisy gradients (N, 32, 32, 3): deflated to two thirds, in several blocks."""
    noise = np.random.default_rng(0).standard_normal((count, 32, 32, 3))
    slope = np.arange(32)[:, None, None] * np.arange(count)[:, None, None, None] / count
    return (96 + 4 * slope + 12 * noise).clip(0, 255).astype(np.uint8)


def _numbers(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    return tiles.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(128) - np.float32(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
