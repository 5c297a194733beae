"""The checks of the load benchmarks: the right bytes pass, and another seed's pixels do not."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.load.client import Address, Reply
from benchmarks.load.questions import MANY, Seen
from benchmarks.load.sheets import sheets
from contract.sampling import SampleOptions, SampleSpec
from worker.formats.png import encode_png
from worker.formats.zip import encode_zip

DIGEST = "sha256:" + "0" * 64
TILES = np.random.default_rng(0).integers(0, 256, (MANY, 16, 16, 3), dtype=np.uint8)


def picture(seed: int, pixels_of: int) -> bytes:
    """The picture whose texts say that it is of one seed, with the pixels of another."""
    return encode_png(TILES[pixels_of : pixels_of + 1], SampleSpec(digest=DIGEST, seed=seed))


def sheet(pixels_of: Sequence[int], columns: int = 1) -> bytes:
    """The sheet whose texts say that it is of seeds 0, 1, …, with the pixels of others."""
    seeds = range(len(pixels_of))
    spec = SampleSpec.of_seeds(DIGEST, "png", seeds, SampleOptions(columns=columns))
    return encode_png(TILES[list(pixels_of)], spec)


def archive(pixels_of: Sequence[int]) -> bytes:
    spec = SampleSpec(digest=DIGEST, count=len(pixels_of), format="zip")
    return encode_zip(TILES[list(pixels_of)], spec)


def reply(body: bytes) -> Reply:
    return Reply(200, b"", body)


@pytest.fixture
def seen() -> Seen:
    pictures = [picture(seed, seed) for seed in range(MANY)]
    return Seen(Address(0), DIGEST, pictures, [], itertools.cycle(range(MANY)))


def test_picture_with_pixels_of_another_seed_is_wrong(seen: Seen) -> None:
    question = next(seen.unique())
    assert question.is_right(reply(picture(0, 0)))
    assert not question.is_right(reply(picture(0, pixels_of=1)))


def test_sheet_with_pixels_of_other_seeds_is_wrong(seen: Seen) -> None:
    question = next(sheets(seen, 4))
    assert question.is_right(reply(sheet([0, 1, 2, 3])))
    assert not question.is_right(reply(sheet([1, 2, 3, 4])))
    assert not question.is_right(reply(sheet([0, 1, 3, 2])))


def test_sheets_begin_at_every_seed_in_every_layout_before_one_repeats(seen: Seen) -> None:
    different = 4 * (MANY - 3)
    requests = [question.request for question in itertools.islice(sheets(seen, 4), different + 1)]
    assert len(set(requests)) == different
    assert requests[-1] == requests[0]
    wide = next(itertools.islice(sheets(seen, 4), 3 * (MANY - 3), None))
    assert wide.is_right(reply(sheet([0, 1, 2, 3], columns=4)))


def test_archive_is_right_only_with_the_picture_of_every_seed_in_order(seen: Seen) -> None:
    question = next(seen.lists())
    right = archive(range(MANY))
    assert question.is_right(reply(right))
    assert not question.is_right(reply(archive([*range(1, MANY), 0])))
    assert not question.is_right(reply(archive([*range(MANY - 2), MANY - 1, MANY - 2])))
    assert not question.is_right(reply(archive(range(MANY - 1))))
    assert not question.is_right(reply(right[: len(right) // 2]))
