"""The limit on the number of pixels that are decoded at once."""

import io
import threading
import time
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from contract.volume import Volume
from models.datasets import decoding
from models.datasets.archive import prepare
from models.datasets.decoding import DECODERS, PixelLimit
from models.datasets.pictures import UnusablePictureError, decode, is_grey
from models.silence import silent

SIDE = 16


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (SIDE, SIDE), shade).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=[1, 2, DECODERS])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Set the limit to this many pictures."""
    count: int = request.param
    monkeypatch.setattr(decoding, "PIXELS_AT_ONCE", count * SIDE**2 + SIDE)
    return count


@pytest.fixture
def together(at_once: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of pictures in the decoder whenever one enters; inside, they wait for each other."""
    inside, seen, lock, all_in = [0], list[int](), threading.Lock(), threading.Barrier(at_once)

    def slow(content: bytes) -> Image.Image:
        with lock:
            inside[0] += 1
            seen.append(inside[0])
        all_in.wait(timeout=30)
        time.sleep(0.01)  # time for one too many to enter
        with lock:
            inside[0] -= 1
        return decode(content)

    monkeypatch.setattr(decoding, "decode", slow)
    return seen


def prepared(root: Path) -> None:
    with zipfile.ZipFile(path := root / "original.zip", "w") as archive:
        for shade in range(2 * DECODERS):
            archive.writestr(f"{shade}.png", png(shade))
    volume = Volume(root / "volume")
    original = volume.original("ds_" + "0" * 16)
    original.parent.mkdir(parents=True)
    path.rename(original)
    prepare(original, "ds_" + "0" * 16, volume, silent)


def test_as_many_pictures_are_decoded_at_once_as_the_limit_allows(
    at_once: int, together: list[int], tmp_path: Path
) -> None:
    prepared(tmp_path)
    surveyed, derived = together[: 2 * DECODERS], together[2 * DECODERS :]
    assert max(surveyed) == max(derived) == at_once


@pytest.mark.parametrize("at_once", [1], indirect=True)
@pytest.mark.usefixtures("at_once")
def test_unusable_picture_releases_its_pixels() -> None:
    limit = PixelLimit()
    for content in (png(0)[:-30], b"", png(1)[:-30]):
        with pytest.raises(UnusablePictureError):
            limit.decoded(content, is_grey)
    assert limit.decoded(png(2), is_grey)


@pytest.mark.parametrize("is_large", [False, True])
def test_freed_memory_is_returned_only_around_a_large_picture(
    is_large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[str]()
    monkeypatch.setattr(decoding, "LARGE", SIDE**2 - is_large)
    monkeypatch.setattr(decoding, "give_back_freed_memory", lambda: done.append("given back"))
    PixelLimit().decoded(png(1), lambda _: done.append("used"))
    assert done == (["given back", "used", "given back"] if is_large else ["used"])
