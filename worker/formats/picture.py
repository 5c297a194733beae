"""Tiles as one picture: each is enlarged separately, then laid out, so that none bleeds into another."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.sampling import SampleSpec
from models.sheet import sheet


def picture(tiles: NDArray[np.uint8], spec: SampleSpec) -> NDArray[np.uint8]:
    """Lay out tiles (N, R, R, C) as one tile or one sheet: (H, W, C), or (H, W) if C is 1."""
    enlarged = _enlarged(tiles, spec)
    if spec.count > 1:
        return sheet(enlarged, spec.columns, spec.padding)
    return enlarged[0, :, :, 0] if enlarged.shape[-1] == 1 else enlarged[0]


def _enlarged(tiles: NDArray[np.uint8], spec: SampleSpec) -> NDArray[np.uint8]:
    if spec.scale == 1:
        return tiles
    if spec.resample == "nearest":
        return tiles.repeat(spec.scale, axis=1).repeat(spec.scale, axis=2)
    return np.stack([_smooth(tile, spec.scale) for tile in tiles])


def _smooth(tile: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Enlarge a tile (R, R, C) with the three-lobed Lanczos kernel."""
    side, _, channels = tile.shape
    small = Image.fromarray(tile[:, :, 0] if channels == 1 else tile)
    large = small.resize((side * scale, side * scale), Image.Resampling.LANCZOS)
    return np.asarray(large).reshape(side * scale, side * scale, channels)
