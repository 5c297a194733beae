"""PNG (W3C, third edition): one tile, or a sheet of tiles, with its recipe in text chunks.

Encoded here, because Pillow and zlib took a third of a sampler's time. All rows use the filter Up, the
differences to the row above, and are deflated by libdeflate. That takes a fraction of Pillow's time, and
files are 5 to 9 % larger (docs/decisions/0015).
"""

import struct
from collections.abc import Iterator

import deflate
import numpy as np
from numpy.typing import NDArray

from contract.recipe import recipe
from contract.sampling import SampleSpec
from worker.formats.picture import picture

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS = 8
_COLOUR_TYPES = {1: 0, 3: 2}
"""Greyscale and truecolour, by the number of channels."""
_UP = 2
_LEVEL = 1
"""2 to 4 take longer for files no smaller."""


def encode_png(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C) as one tile or one sheet."""
    return b"".join(_parts(picture(tiles, spec), spec))


def _parts(pixels: NDArray[np.uint8], spec: SampleSpec) -> Iterator[bytes]:
    height, width = pixels.shape[:2]
    colour_type = _COLOUR_TYPES[pixels[0, 0].size]
    yield _SIGNATURE
    yield _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, _BITS, colour_type, 0, 0, 0))
    for keyword, text in recipe(spec).items():
        yield _chunk(b"tEXt", f"{keyword}\0{text}".encode("latin-1"))
    yield _chunk(b"IDAT", deflate.zlib_compress(_filtered(pixels), _LEVEL))
    yield _chunk(b"IEND", b"")


def _filtered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The filtered rows (H, 1 + W · C), each preceded by its filter type."""
    rows = pixels.reshape(len(pixels), -1)
    filtered = np.empty((len(rows), 1 + rows.shape[1]), dtype=np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256
    return filtered


def _chunk(kind: bytes, content: bytes | bytearray) -> bytes:
    check = deflate.crc32(content, deflate.crc32(kind))
    return struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", check)
