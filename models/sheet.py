"""Tiles laid out as one picture, row by row in the order of their seeds."""

import numpy as np
from numpy.typing import NDArray

from contract.sampling import sheet_columns


def sheet(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tiles (N, R, R, C) as one picture (rows · R, columns · R, C), without C where that is 1.

    Places that are left over stay black.
    """
    count, resolution, _, channels = tiles.shape
    columns = sheet_columns(count)
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, resolution, resolution, channels), dtype=np.uint8)
    cells[:count] = tiles
    grid = cells.reshape(rows, columns, resolution, resolution, channels).swapaxes(1, 2)
    picture = grid.reshape(rows * resolution, columns * resolution, channels)
    return picture[:, :, 0] if channels == 1 else picture
