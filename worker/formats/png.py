"""PNG: one tile, or a sheet of tiles, with the recipe of its making in text chunks."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from contract.recipe import recipe
from contract.sampling import SampleSpec
from worker.formats.picture import picture


def encode_png(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C) as one tile or one sheet."""
    texts = PngInfo()
    for keyword, text in recipe(spec).items():
        texts.add_text(keyword, text)
    buffer = io.BytesIO()
    picture(tiles, spec).save(buffer, "png", pnginfo=texts, compress_level=6)
    return buffer.getvalue()
