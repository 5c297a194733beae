"""The formats in which samples can be had: what gateway and samplers must know of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MOST_PIXELS = 2**24
"""Of one answer, all its pictures together. Four times as many smooth ones took a sampler 40 s to encode."""

MOST_BYTES_OF_NUMBERS = 2**26
"""Of one answer that is arrays: it passes through Redis in one piece, and is whole in memory twice."""

SampleFormat = Literal["png", "webp", "json", "npz", "zip"]


@dataclass(frozen=True)
class Form:
    """What a format is to somebody who does not encode it."""

    media_type: str
    holds: Literal["a sheet", "tiles", "numbers"]
    """All tiles on one picture, a picture for each, or arrays. What it does not hold cannot be laid out."""
    longest_side: int = 2**16
    """Of one picture, in pixels."""
    enlarging: float = 0.1
    """What it costs to encode as many pixels more as a sample has, in samples: about, and in any size."""


FORMS: Mapping[SampleFormat, Form] = {
    "png": Form("image/png", "a sheet"),
    "webp": Form("image/webp", "a sheet", longest_side=2**14 - 1, enlarging=1.0),
    "json": Form("application/json", "tiles"),
    "npz": Form("application/x-npz", "numbers"),
    "zip": Form("application/zip", "tiles"),
}
"""In the order of our own preference: a client that takes several equally gladly gets the first."""
