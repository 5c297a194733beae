"""PNG: one tile, or a sheet of tiles, with the recipe of its making in text chunks."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from contract.sampling import SampleSpec, sheet_columns


def encode_png(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
    """Encode tiles (N, R, R, C), row by row in the order of their seeds; unused places stay black."""
    pixels = _sheet(tiles, sheet_columns(len(tiles)))
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "png", pnginfo=_recipe(spec), compress_level=6)
    return buffer.getvalue()


def _sheet(tiles: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    count, side, _, channels = tiles.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * columns, side, side, channels), np.uint8)
    sheet[:count] = tiles
    grid = sheet.reshape(rows, columns, side, side, channels).swapaxes(1, 2)
    return grid.reshape(rows * side, columns * side, channels)


def _recipe(spec: SampleSpec) -> PngInfo:
    recipe = PngInfo()
    recipe.add_text("Software", "dcgan")
    recipe.add_text("dcgan:digest", spec.digest)
    recipe.add_text("dcgan:seed", str(spec.seed))
    recipe.add_text("dcgan:count", str(spec.count))
    recipe.add_text(
        "dcgan:url",
        f"/samples?seed={spec.seed}&count={spec.count}&model={spec.digest}&format={spec.format}",
    )
    return recipe
