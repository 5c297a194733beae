"""Tiles laid out as one picture, row by row in the order of their seeds."""

import numpy as np
from numpy.typing import NDArray

from contract.sampling import sheet_columns


def sheet(tiles: NDArray[np.uint8], columns: int | None = None, padding: int = 0) -> NDArray[np.uint8]:
    """Tiles (N, R, R, C) as one picture, `padding` pixels apart, without C where that is 1.

    What lies between tiles, and places that are left over, are black. Without `columns` the sheet is as
    square as it can be.
    """
    count, resolution, _, channels = tiles.shape
    columns = columns or sheet_columns(count)
    rows = -(-count // columns)
    pitch = resolution + padding
    cells = np.zeros((rows * columns, pitch, pitch, channels), dtype=np.uint8)
    cells[:count, :resolution, :resolution] = tiles
    grid = cells.reshape(rows, columns, pitch, pitch, channels).swapaxes(1, 2)
    picture = grid.reshape(rows * pitch, columns * pitch, channels)
    picture = picture[: rows * pitch - padding, : columns * pitch - padding]
    return picture[:, :, 0] if channels == 1 else picture
