"""A sheet shows its tiles row by row, each complete, and nothing else."""

import numpy as np
import pytest

from contract.sampling import sheet_columns
from models.sheet import sheet


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 6, 9, 10])
def test_tile_k_is_in_row_k_over_columns(count: int, channels: int) -> None:
    tiles = np.random.default_rng(0).integers(1, 256, (count, 4, 4, channels), dtype=np.uint8)
    picture = sheet(tiles).copy()
    columns = sheet_columns(count)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        place = picture[row * 4 : row * 4 + 4, column * 4 : column * 4 + 4]
        assert np.array_equal(place.reshape(tile.shape), tile)
        place[:] = 0
    assert not picture.any()


def test_sheet_has_the_requested_columns_and_padding() -> None:
    tiles = np.arange(1, 6, dtype=np.uint8).repeat(4).reshape(5, 2, 2, 1)
    assert sheet(tiles, columns=3, padding=1).tolist() == [
        [1, 1, 0, 2, 2, 0, 3, 3],
        [1, 1, 0, 2, 2, 0, 3, 3],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [4, 4, 0, 5, 5, 0, 0, 0],
        [4, 4, 0, 5, 5, 0, 0, 0],
    ]
