"""PNG: one tile, or a sheet of tiles, with the recipe of its making in text chunks."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from contract.sampling import SampleSpec
from models.sheet import sheet


def encode_png(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C) as one tile or one sheet."""
    buffer = io.BytesIO()
    Image.fromarray(sheet(tiles)).save(buffer, "png", pnginfo=_recipe(spec), compress_level=6)
    return buffer.getvalue()


def _recipe(spec: SampleSpec) -> PngInfo:
    recipe = PngInfo()
    recipe.add_text("Software", "dcgan")
    recipe.add_text("dcgan:digest", spec.digest)
    recipe.add_text("dcgan:seed", str(spec.seed))
    recipe.add_text("dcgan:count", str(spec.count))
    precision = "" if spec.precision == "auto" else f"&precision={spec.precision}"
    recipe.add_text(
        "dcgan:url",
        f"/samples?seed={spec.seed}&count={spec.count}&model={spec.digest}&format={spec.format}{precision}",
    )
    return recipe
