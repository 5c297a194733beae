"""The formats in which samples can be had: what gateway and samplers must know of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SampleFormat = Literal["png", "webp", "json", "npz", "zip"]


@dataclass(frozen=True)
class Form:
    """What a format is to somebody who does not encode it."""

    media_type: str
    holds: Literal["a sheet", "tiles", "numbers"]
    """All tiles on one picture, a picture for each, or arrays. What it does not hold cannot be laid out."""
    most_pixels: int
    """Of all its pictures together: what a sampler and a gateway hold in memory for one answer."""
    longest_side: int = 2**16
    """Of one picture, in pixels."""


FORMS: Mapping[SampleFormat, Form] = {
    "png": Form("image/png", "a sheet", most_pixels=2**26),
    "webp": Form("image/webp", "a sheet", most_pixels=2**26, longest_side=2**14 - 1),
    "json": Form("application/json", "tiles", most_pixels=2**24),
    "npz": Form("application/x-npz", "numbers", most_pixels=2**24),
    "zip": Form("application/zip", "tiles", most_pixels=2**26),
}
"""In the order of our own preference: a client that takes several equally gladly gets the first."""
