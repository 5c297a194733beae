"""The formats of samples, and what both gateway and samplers must know about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MOST_PIXELS = 2**24
"""Limit of one answer, over all its pictures. Four times as many, resampled smoothly, took 40 s to encode."""

MOST_BYTES_OF_NUMBERS = 2**26
"""Limit of one answer of arrays, which passes through Redis in one piece and is in memory twice."""

SampleFormat = Literal["png", "webp", "json", "npz", "zip"]


@dataclass(frozen=True)
class Form:
    """The properties of a format, for code that does not encode it."""

    media_type: str
    holds: Literal["a sheet", "tiles", "numbers"]
    """All tiles in one picture, a picture per tile, or arrays. Only a sheet has a layout."""
    longest_side: int = 2**16
    """Limit of one picture's sides, in pixels."""
    enlarging: float = 0.1
    """Approximate cost, in samples, of encoding as many more pixels as one sample has, at any size."""


FORMS: Mapping[SampleFormat, Form] = {
    "png": Form("image/png", "a sheet"),
    "webp": Form("image/webp", "a sheet", longest_side=2**14 - 1, enlarging=1.0),
    "json": Form("application/json", "tiles"),
    "npz": Form("application/x-npz", "numbers"),
    "zip": Form("application/zip", "tiles"),
}
"""In order of preference: a client that accepts several equally gets the first."""
