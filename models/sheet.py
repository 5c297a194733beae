"""Contact sheets: tiles arranged in one picture, row by row in the order of their seeds."""

import numpy as np
from numpy.typing import NDArray

from contract.sampling import sheet_columns


def sheet(tiles: NDArray[np.uint8], columns: int | None = None, padding: int = 0) -> NDArray[np.uint8]:
    """Arrange tiles (N, R, R, C) in one picture, `padding` pixels apart; the C axis is dropped if C is 1.

    Padding and unused cells are black. Without `columns`, the sheet is as square as possible.
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
