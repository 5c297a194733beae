"""Requests for sheets; the expected bytes are composed of what each seed gave alone.

Sheets begin at any seed and have any number of columns: few seeds give thousands of different sheets. All are
encoded beforehand, so that a check costs the client no more than a hash.
"""

import io
import itertools
from collections.abc import Iterator
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.load.client import Reply
from benchmarks.load.loops import Question
from benchmarks.load.questions import Seen
from contract.sampling import SampleOptions, SampleSpec
from worker.formats.png import encode_png

MOST_SHEETS = 8000
"""As many as arrive in some seconds of a flood, and as can be encoded in some."""


def sheets(seen: Seen, count: int) -> Iterator[Question]:
    """Sheets of `count` seeds; none repeats before all others."""
    tiles = _tiles(seen.pictures[: MOST_SHEETS // count + count])
    layouts = itertools.product(range(1, count + 1), range(len(tiles) - count + 1))
    return itertools.cycle([_question(seen, tiles, first, count, columns) for columns, first in layouts])


def _question(seen: Seen, tiles: NDArray[np.uint8], first: int, count: int, columns: int) -> Question:
    seeds = range(first, first + count)
    spec = SampleSpec.of_seeds(seen.digest, "png", seeds, SampleOptions(columns=columns))
    expected = sha256(encode_png(tiles[first : first + count], spec)).digest()

    def is_right(reply: Reply) -> bool:
        return sha256(reply.body).digest() == expected

    path = f"/samples?seed={first}&count={count}&columns={columns}&model={seen.digest}"
    return Question(seen.address.get(path), is_right)


def _tiles(pictures: list[bytes]) -> NDArray[np.uint8]:
    """The pixels (N, R, R, C) of pictures of one tile."""
    tiles = np.stack([np.asarray(Image.open(io.BytesIO(picture))) for picture in pictures])
    return tiles if tiles.ndim == 4 else tiles[..., np.newaxis]
