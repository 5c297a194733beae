"""Each format is read back by other libraries, and its bytes depend on the samples alone."""

import base64
import io
import json
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import deflate
import numpy as np
import PIL
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from contract.formats import FORMS, SampleFormat
from contract.recipe import read_recipe
from contract.sampling import SampleOptions, SampleSpec
from models.pixels import to_pixels
from models.sheet import sheet
from service.sample_answers import SamplesDocument
from worker.formats import FORMATS, FORMATS_OF_NUMBERS
from worker.formats.identity import encoders
from worker.formats.png import encode_png
from worker.rendering import encode

DIGEST = "sha256:" + "5" * 64
SEEDS = (7, 8, 9)
PICTURES = Path(__file__).parents[2] / "examples" / "fashion-mnist-5k.zip"


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def images(request: pytest.FixtureRequest) -> NDArray[np.float32]:
    """Distinct images (3, C, 16, 16), as a generator returns them."""
    noise = np.random.default_rng(0).uniform(-1, 1, (len(SEEDS), request.param, 16, 16))
    return noise.astype(np.float32)


@pytest.fixture
def tiles(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The pixels (3, 16, 16, C) of these images."""
    return to_pixels(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()


def spec(chosen: SampleFormat, **options: Any) -> SampleSpec:
    return SampleSpec(digest=DIGEST, seed=SEEDS[0], count=len(SEEDS), format=chosen, **options)


def mode_of(tiles: NDArray[np.uint8]) -> str:
    """Pillow's name for their number of channels."""
    return "L" if tiles.shape[-1] == 1 else "RGB"


def encoded(chosen: SampleFormat, images: NDArray[np.float32], tiles: NDArray[np.uint8]) -> bytes:
    return encode(images if chosen in FORMATS_OF_NUMBERS else tiles, spec(chosen))


def opened(file: bytes, mode: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(file)).convert(mode))


def single_pngs(tiles: NDArray[np.uint8]) -> list[bytes]:
    """The PNG of each seed alone."""
    return [
        encode_png(tiles[index : index + 1], SampleSpec(digest=DIGEST, seed=seed))
        for index, seed in enumerate(SEEDS)
    ]


def test_every_format_has_one_encoder_and_its_own_media_type() -> None:
    named: Sequence[str] = get_args(SampleFormat)
    assert sorted([*FORMATS, *FORMATS_OF_NUMBERS]) == sorted(named) == sorted(FORMS)
    assert len({form.media_type for form in FORMS.values()}) == len(named)


def test_renderer_names_the_libraries_that_encode_and_what_they_write() -> None:
    assert re.fullmatch(
        rf"\d+/pillow{PIL.__version__}/libdeflate{deflate.__version__}/webp[\d.]+/[0-9a-f]{{8}}", encoders()
    )


def test_renderer_changes_with_what_an_encoder_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = encoders()
    encoders.cache_clear()
    assert encoders() == usual
    encoders.cache_clear()
    monkeypatch.setattr(deflate, "zlib_compress", zlib.compress)
    assert encoders() != usual
    encoders.cache_clear()


@pytest.mark.parametrize("chosen", FORMS)
def test_same_samples_give_the_same_bytes_at_any_time(
    chosen: SampleFormat,
    images: NDArray[np.float32],
    tiles: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = encoded(chosen, images, tiles)
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    assert encoded(chosen, images, tiles) == before


@pytest.mark.parametrize("chosen", ["png", "webp"])
def test_picture_formats_are_lossless(
    chosen: SampleFormat, images: NDArray[np.float32], tiles: NDArray[np.uint8]
) -> None:
    assert np.array_equal(opened(encoded(chosen, images, tiles), mode_of(tiles)), sheet(tiles))
    alone = SampleSpec(digest=DIGEST, seed=7, format=chosen)
    assert np.array_equal(opened(encode(tiles[:1], alone), mode_of(tiles)), sheet(tiles[:1]))


def test_png_of_real_pictures_is_little_larger_than_pillows() -> None:
    with zipfile.ZipFile(PICTURES) as archive:
        files = [archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".png")]
    shown = np.stack([opened(file, "L")[:, :, None] for file in files[:64]])
    ours = encode_png(shown, SampleSpec(digest=DIGEST, seed=0, count=64))
    theirs = io.BytesIO()
    Image.fromarray(sheet(shown)).save(theirs, "png")
    assert len(ours) < 1.15 * len(theirs.getvalue()) + 1000  # the recipe takes less than 1000 bytes


def test_nearest_repeats_each_pixel(tiles: NDArray[np.uint8]) -> None:
    shown = opened(encode_png(tiles, spec("png", scale=3)), mode_of(tiles))
    assert np.array_equal(shown, sheet(np.kron(tiles, np.ones((1, 3, 3, 1), dtype=np.uint8))))


def test_lanczos_enlarges_each_tile_separately(tiles: NDArray[np.uint8]) -> None:
    options = {"scale": 2, "resample": "lanczos"}
    shown = opened(encode_png(tiles, spec("png", columns=3, **options)), mode_of(tiles))
    for index in range(3):
        alone = encode_png(tiles[index : index + 1], spec("png", **options).tiles()[index])
        assert np.array_equal(shown[:, 32 * index : 32 * (index + 1)], opened(alone, mode_of(tiles)))


def test_lanczos_smooths_edges_and_keeps_flat_areas(tiles: NDArray[np.uint8]) -> None:
    flat, edge = np.full_like(tiles[:1], 90), np.zeros_like(tiles[:1])
    edge[:, :, 8:] = 200
    large = SampleSpec(digest=DIGEST, seed=0, scale=4, resample="lanczos")
    assert set(np.unique(opened(encode_png(flat, large), "L"))) == {90}
    assert len(np.unique(opened(encode_png(edge, large), "L"))) > 4


def test_sheet_has_the_size_given_by_its_spec(tiles: NDArray[np.uint8]) -> None:
    for asked in (spec("png"), spec("png", columns=1, padding=5), spec("png", columns=3, scale=2, padding=1)):
        assert Image.open(io.BytesIO(encode_png(tiles, asked))).size == asked.size(16)


def test_png_contains_its_recipe(tiles: NDArray[np.uint8]) -> None:
    asked = spec("png", columns=3, padding=1)
    texts = {str(word): text for word, text in Image.open(io.BytesIO(encode_png(tiles, asked))).info.items()}
    assert texts == {
        "Software": "dcgan",
        "dcgan:digest": DIGEST,
        "dcgan:seed": "7",
        "dcgan:count": "3",
        "dcgan:spec": f'{{"columns":3,"padding":1,"digest":"{DIGEST}","seed":7,"count":3}}',
        "dcgan:url": f"/samples?model={DIGEST}&seed=7&count=3&columns=3&padding=1&format=png",
    }
    assert read_recipe(texts) == asked


def test_zip_contains_the_png_of_each_seed(images: NDArray[np.float32], tiles: NDArray[np.uint8]) -> None:
    with zipfile.ZipFile(io.BytesIO(encoded("zip", images, tiles))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["0000-7.png", "0001-8.png", "0002-9.png"]
        assert [archive.read(name) for name in archive.namelist()] == single_pngs(tiles)


def test_json_contains_the_url_and_the_picture_of_each_seed(
    images: NDArray[np.float32], tiles: NDArray[np.uint8]
) -> None:
    file = encoded("json", images, tiles)
    SamplesDocument.model_validate_json(file)  # matches the OpenAPI document
    document = json.loads(file)
    assert document["digest"] == DIGEST
    assert (document["shape"], document["range"]) == ([*tiles.shape], [0, 255])
    assert [image["seed"] for image in document["images"]] == [*SEEDS]
    assert document["images"][1]["url"] == f"/samples?model={DIGEST}&seed=8&format=png"
    heads, contents = zip(*(image["src"].split(",") for image in document["images"]), strict=True)
    assert set(heads) == {"data:image/png;base64"}
    assert [base64.b64decode(content) for content in contents] == single_pngs(tiles)


def test_files_are_named_by_index_and_by_seed_if_there_is_one(tiles: NDArray[np.uint8]) -> None:
    listed = SampleSpec.of_seeds(DIGEST, "zip", [9, 7, 9], SampleOptions())
    given = SampleSpec.of_latents(DIGEST, "zip", [[0.5], [0.25], [2]], SampleOptions())
    for asked, names, seeds in (
        (listed, ["0000-9.png", "0001-7.png", "0002-9.png"], [9, 7, 9]),
        (given, ["0000.png", "0001.png", "0002.png"], [None] * 3),
    ):
        with zipfile.ZipFile(io.BytesIO(encode(tiles, asked))) as archive:
            assert archive.namelist() == names
        document = json.loads(encode(tiles, asked.model_copy(update={"format": "json"})))
        assert [image["seed"] for image in document["images"]] == seeds


def test_npz_contains_the_numbers_before_rounding(
    images: NDArray[np.float32], tiles: NDArray[np.uint8]
) -> None:
    with np.load(io.BytesIO(encoded("npz", images, tiles)), allow_pickle=False) as arrays:
        assert set(arrays) == {"pixels", "numbers", "seeds", "digest"}
        assert arrays["numbers"].dtype == np.float32
        assert np.array_equal(arrays["numbers"], images.transpose(0, 2, 3, 1))
        assert arrays["pixels"].dtype == np.uint8
        assert np.array_equal(arrays["pixels"], tiles)
        assert arrays["seeds"].tolist() == [*SEEDS]
        assert str(arrays["digest"]) == DIGEST
