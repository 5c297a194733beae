"""Identifies the encoders by what they write: versions tell neither their processor nor all their parts.

Pillow chooses code by the processor's instructions, and libdeflate, numpy, pydantic and the standard
library write parts of the files, too.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from itertools import product

import deflate
import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from contract.formats import SampleFormat
from contract.sampling import SampleOptions, SampleSpec
from worker.formats import FORMATS, FORMATS_OF_NUMBERS

_OURS = 4  # raised when any format's bytes change for the same pixels
_OPTIONS = (
    SampleOptions(),
    SampleOptions(scale=2, resample="lanczos", padding=1, truncation=1e-5),
    SampleOptions(scale=3),
)


@cache
def encoders() -> str:
    """Names the encoders' versions, and eight hex digits that hash what they write for a few fixed pictures.

    Equal in all processes that write the same bytes. Takes some hundredths of a second, once per process.
    """
    found = hashlib.sha256()
    for content in _written():
        found.update(content)
    versions = (
        f"pillow{PIL.__version__}/libdeflate{deflate.__version__}/webp{features.version_module('webp')}"
    )
    return f"{_OURS}/{versions}/{found.hexdigest()[:8]}"


def _written() -> Iterator[bytes]:
    large = _tiles(1, 128, 3)  # fills several blocks of deflate
    for tiles, options in [(large, _OPTIONS[0]), *product((_tiles(1, 32, 1), _tiles(5, 32, 3)), _OPTIONS)]:
        for name, encode in FORMATS.items():
            yield encode(tiles, _spec(name, len(tiles), options))
        for name, encode_numbers in FORMATS_OF_NUMBERS.items():
            numbers = tiles.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(128)
            yield encode_numbers(numbers, _spec(name, len(tiles), options))


def _spec(name: SampleFormat, count: int, options: SampleOptions) -> SampleSpec:
    return SampleSpec.of_seeds("sha256:" + "0" * 64, name, range(count), options)


def _tiles(count: int, side: int, channels: int) -> NDArray[np.uint8]:
    """Tiles (N, R, R, C) that are smooth above and noisy below."""
    places = np.arange(count * side * side * channels).reshape(count, side, side, channels)
    noise = places * 7919 % 1009
    return np.where(places // (side * channels) % side < side // 2, places // 64, noise).astype(np.uint8)
