"""What a portion of asks comes to: images from the engine, and each ask's share of them in its format."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.sampling import SampleSpec
from contract.wire import Ask
from worker.engine import Engine
from worker.formats import FORMATS, FORMATS_OF_NUMBERS

Images = NDArray[np.uint8] | NDArray[np.float32]
"""Pixels (N, R, R, C), or numbers (N, C, R, R) for the formats that are made of those."""


def kinship(spec: SampleSpec) -> tuple[str, bool, bool]:
    """Equal for specs that may be rendered together: one generator, all singles or all sheets, one kind."""
    return spec.digest, spec.count > 1, spec.format in FORMATS_OF_NUMBERS


def render(engine: Engine, portion: Sequence[Ask]) -> Images:
    """The images of all asks of a portion, one after the other; the asks are kin.

    Raises:
        ServiceError: what the engine refuses.
    """
    first = portion[0]
    paint = engine.render_floats if first.spec.format in FORMATS_OF_NUMBERS else engine.render
    return paint(first.spec.digest, first.place, [seed for ask in portion for seed in ask.spec.seeds])


def shares(images: Images, portion: Sequence[Ask]) -> Iterator[tuple[Ask, Images]]:
    """Each ask of the portion with its own."""
    start = 0
    for ask in portion:
        yield ask, images[start : start + ask.spec.count]
        start += ask.spec.count


def encode(images: Images, spec: SampleSpec) -> bytes:
    """The file of what `render` gave for this spec."""
    if spec.format in FORMATS_OF_NUMBERS:
        return FORMATS_OF_NUMBERS[spec.format](images.astype(np.float32, copy=False), spec)
    return FORMATS[spec.format](images.astype(np.uint8, copy=False), spec)
