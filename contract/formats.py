"""The formats in which samples can be had: what gateway and samplers must know of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SampleFormat = Literal["png", "webp", "json", "npz", "zip"]


@dataclass(frozen=True)
class Form:
    """What a format is to somebody who does not encode it."""

    media_type: str


FORMS: Mapping[SampleFormat, Form] = {
    "png": Form("image/png"),
    "webp": Form("image/webp"),
    "json": Form("application/json"),
    "npz": Form("application/x-npz"),
    "zip": Form("application/zip"),
}
"""In the order of our own preference: a client that takes several equally gladly gets the first."""
