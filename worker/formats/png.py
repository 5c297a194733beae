"""PNG: one tile, or a sheet of tiles, with the recipe of its making in text chunks."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL.PngImagePlugin import PngInfo

from contract.sampling import SampleSpec
from worker.formats.picture import picture


def encode_png(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C) as one tile or one sheet."""
    buffer = io.BytesIO()
    picture(tiles, spec).save(buffer, "png", pnginfo=_recipe(spec), compress_level=6)
    return buffer.getvalue()


def _recipe(spec: SampleSpec) -> PngInfo:
    recipe = PngInfo()
    recipe.add_text("Software", "dcgan")
    recipe.add_text("dcgan:digest", spec.digest)
    recipe.add_text("dcgan:seed", str(spec.seed))
    recipe.add_text("dcgan:count", str(spec.count))
    recipe.add_text("dcgan:url", spec.address())
    return recipe
