"""What a portion of asks comes to: images from the engine, and each ask's share of them in its format."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.errors import ErrorCode, ServiceError
from contract.formats import FORMS
from contract.sampling import SampleSpec
from contract.training import TrainingSpec
from contract.wire import Ask
from worker.engine import Engine
from worker.formats import FORMATS, FORMATS_OF_NUMBERS

Images = NDArray[np.uint8] | NDArray[np.float32]
"""Pixels (N, R, R, C), or numbers (N, C, R, R) for the formats that are made of those."""


def kinship(spec: SampleSpec) -> tuple[str, bool, bool]:
    """Equal for specs that may be rendered together: one generator, all singles or all sheets, one kind."""
    return spec.digest, spec.count > 1, spec.format in FORMATS_OF_NUMBERS


def admit(engine: Engine, portion: Sequence[Ask]) -> tuple[list[Ask], list[tuple[Ask, ServiceError]]]:
    """The asks of a portion that its generator can fulfil, and the others with why not.

    Raises:
        ServiceError: what the engine refuses.
    """
    trained = engine.sampler(portion[0].spec.digest, portion[0].place).header.spec
    welcome, refused = [], []
    for ask in portion:
        if refusal := _refusal(ask.spec, trained):
            refused.append((ask, refusal))
        else:
            welcome.append(ask)
    return welcome, refused


def _refusal(spec: SampleSpec, trained: TrainingSpec) -> ServiceError | None:
    form = FORMS[spec.format]
    width, height = spec.size(trained.resolution)
    pictures = 1 if form.holds == "a sheet" else spec.count
    if max(width, height) <= form.longest_side and width * height * pictures <= form.most_pixels:
        return None
    detail = (
        f"With tiles of {trained.resolution} px this would be {pictures} × {width} × {height} pixels; "
        f"as {spec.format} there may be {form.most_pixels:,} in all, and sides of {form.longest_side:,}. "
        "Lower count or scale, or choose other columns."
    )
    return ServiceError(ErrorCode.INVALID_REQUEST, detail)


def render(engine: Engine, portion: Sequence[Ask]) -> Images:
    """The images of all asks of a portion, one after the other; the asks are kin.

    Raises:
        ServiceError: what the engine refuses.
    """
    if not portion:
        return np.empty((0, 0, 0, 0), dtype=np.uint8)
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
