"""Which pictures of a dataset are trained on, and which are held out of training, for judging."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contract.dataset import Manifest, is_held_out

FEWEST_REALS = 16
"""Fewer held-out pictures say too little of a run: they are trained on, and training pictures judge it."""

FEWEST_SHOWN = 6
"""If fewer pictures than this are not held out, all pictures are used for training: evaluations look
for the `DENSITY_NEIGHBOURS` nearest others of each (`models/metrics/neighbours.py`)."""

MOST_HELD_OUT_ONE_IN = 10
"""Hundreds of pictures need a larger share than thousands, but it is one in so many at most."""


def held_out_images(hashes: Sequence[str]) -> int:
    """How many pictures to hold out: one in twenty, or `FEWEST_REALS` if these are a tenth or less."""
    enough = FEWEST_REALS if len(hashes) >= MOST_HELD_OUT_ONE_IN * FEWEST_REALS else 0
    return max(sum(map(is_held_out, hashes)), enough)


def held_out_indices(manifest: Manifest) -> NDArray[np.int64]:
    """The pictures that are never trained on, for judging: at least `FEWEST_REALS`, or none."""
    kept = np.setdiff1d(np.arange(manifest.images), training_indices(manifest))
    return kept.astype(np.int64)


def training_indices(manifest: Manifest) -> NDArray[np.int64]:
    """The pictures to train on: those not held out, or all if one of the splits would be too small."""
    held_out = manifest.held_out
    shown = [index for index in range(manifest.images) if index not in held_out]
    is_split = _is_split(manifest.images, manifest.images - len(shown))
    return np.array(shown if is_split else range(manifest.images), dtype=np.int64)


def split_sizes(images: int, held_out_images: int) -> tuple[int, int]:
    """The numbers of training and held-out pictures: the lengths of the two lists above."""
    is_split = _is_split(images, held_out_images)
    return (images - held_out_images, held_out_images) if is_split else (images, 0)


def _is_split(images: int, held_out_images: int) -> bool:
    return held_out_images >= FEWEST_REALS and images - held_out_images >= FEWEST_SHOWN
