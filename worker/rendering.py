"""Renders a portion of asks on its generator, and encodes each ask's share of the images in its format."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.errors import FieldError
from contract.formats import FORMS, MOST_BYTES_OF_NUMBERS, MOST_PIXELS
from contract.latents import unpack
from contract.sampling import SampleSpec
from contract.training import TrainingSpec
from contract.wire import Ask
from models.sampler import Sampler
from models.silence import silent
from worker.formats import FORMATS, FORMATS_OF_NUMBERS

_BYTES_OF_A_VALUE = 1 + 4
"""As a pixel and as a float: an `npz` has both."""

Images = NDArray[np.uint8] | NDArray[np.float32]
"""Pixels (N, R, R, C), or floats (N, C, R, R) for the formats that need them."""


def kinship(spec: SampleSpec) -> tuple[str, str, bool, bool, bool, bool, float]:
    """A key that is equal for specs that may be rendered together.

    They share a generator and its precision, are all single or all sheets, need all pixels or all floats, and
    have latents that are all given, or all on paths or of seeds, with the same truncation.
    """
    is_given, is_path = spec.latents is not None, spec.to is not None
    is_of_numbers = spec.format in FORMATS_OF_NUMBERS
    return spec.digest, spec.precision, spec.count > 1, is_of_numbers, is_given, is_path, spec.truncation


def admit(sampler: Sampler, portion: Sequence[Ask]) -> tuple[list[Ask], list[tuple[Ask, FieldError]]]:
    """Split a portion into the asks that its generator can fulfil, and the others with what to change."""
    welcome, refused = [], []
    for ask in portion:
        if objection := _objection(ask.spec, sampler.header.spec):
            refused.append((ask, objection))
        else:
            welcome.append(ask)
    return welcome, refused


def _objection(spec: SampleSpec, trained: TrainingSpec) -> FieldError | None:
    """An objection that requires knowing the generator, or None."""
    if spec.truncation != 1 and not trained.prior.HAS_A_MIDDLE:
        detail = (
            f"truncation is {spec.truncation:g}, but this generator's latents come from the prior "
            f"{trained.prior.kind}, which has no values between its outer ones; leave truncation out."
        )
        return FieldError("truncation", detail)
    takes = trained.architecture.latent_size
    if spec.latents is not None and (given := len(unpack(spec.latents, spec.count)[0])) != takes:
        detail = f"The latents have {given} numbers each, and this generator takes {takes}."
        return FieldError("latents", detail)
    return _too_large(spec, trained.resolution) or _too_many_numbers(spec, trained)


def _too_large(spec: SampleSpec, resolution: int) -> FieldError | None:
    form = FORMS[spec.format]
    width, height = spec.size(resolution)
    pictures = 1 if form.holds == "a sheet" else spec.count
    fits = width * height * pictures <= MOST_PIXELS
    if max(width, height) <= form.longest_side and fits:
        return None
    detail = (
        f"With tiles of {resolution} px this would be {pictures} × {width} × {height} pixels; "
        f"as {spec.format} there may be {MOST_PIXELS:,} in all, and sides of {form.longest_side:,}. "
        "Ask for fewer samples or a smaller scale, or choose other columns."
    )
    return FieldError("columns" if fits else "count", detail)


def _too_many_numbers(spec: SampleSpec, trained: TrainingSpec) -> FieldError | None:
    if FORMS[spec.format].holds != "numbers":
        return None
    each = trained.channels * trained.resolution**2 * _BYTES_OF_A_VALUE
    most = MOST_BYTES_OF_NUMBERS // each
    if spec.count <= most:
        return None
    detail = (
        f"{spec.count} samples are too many: as {spec.format} one of this generator takes {each:,} bytes, "
        f"and one answer may have {MOST_BYTES_OF_NUMBERS:,}. Ask for {most} at most at a time."
    )
    return FieldError("count", detail)


def render(sampler: Sampler, portion: Sequence[Ask], after_pass: Callable[[], None] = silent) -> Images:
    """Render the images of all asks of a portion, in order. Their `kinship` must be equal."""
    specs = [ask.spec for ask in portion]
    drawn = _latents(sampler, specs)
    if specs[0].format in FORMATS_OF_NUMBERS:
        return sampler.render_latent_floats(drawn, after_pass)
    return sampler.render_latents(drawn, after_pass)


def _latents(sampler: Sampler, specs: Sequence[SampleSpec]) -> NDArray[np.float32]:
    """The latents (N, Z) of specs of equal kinship."""
    truncation = specs[0].truncation
    if specs[0].latents is not None:
        rows = [row for spec in specs for row in _rows(spec)]
        return np.array(rows, dtype=np.float32)
    if specs[0].to is not None:
        return sampler.draw_paths([_ends(spec) for spec in specs], [spec.ways for spec in specs], truncation)
    return sampler.draw([seed for spec in specs for seed in spec.seeds], truncation)


def _rows(spec: SampleSpec) -> list[list[float]]:
    assert spec.latents is not None
    return unpack(spec.latents, spec.count)


def _ends(spec: SampleSpec) -> tuple[int, int]:
    assert spec.to is not None
    return spec.seed, spec.to


def shares(images: Images, portion: Sequence[Ask]) -> Iterator[tuple[Ask, Images]]:
    """Pair each ask of the portion with its images."""
    start = 0
    for ask in portion:
        yield ask, images[start : start + ask.spec.count]
        start += ask.spec.count


def encode(images: Images, spec: SampleSpec) -> bytes:
    """Encode what `render` returned for this spec."""
    if spec.format in FORMATS_OF_NUMBERS:
        return FORMATS_OF_NUMBERS[spec.format](images.astype(np.float32, copy=False), spec)
    return FORMATS[spec.format](images.astype(np.uint8, copy=False), spec)
