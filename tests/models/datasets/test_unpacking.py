"""Archives whose files unpack to more than they claim, or are damaged."""

import io
import random
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from contract.volume import Volume
from models.datasets.archive import prepare
from models.datasets.unpacking import MAX_FILE_BYTES, content_of, unpacked
from models.silence import silent

DATASET = "ds_" + "0" * 16
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
BLOCKS = METHODS[2:]
NAME = "a.png"
CONTENT = random.Random(0).randbytes(50_000) + bytes(50_000)
SPARE_BYTES = 32 * 2**20


def packed(path: Path, content: bytes, method: int, *, goes_on_bytes: int = 0) -> Path:
    """An archive of one file, which unpacks to so many more bytes than it claims."""
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        with archive.open(NAME, "w") as file:
            file.write(content)
            for _ in range(0, goes_on_bytes, 2**20):
                file.write(bytes(2**20))
        entry = archive.getinfo(NAME)
        entry.file_size, entry.CRC = len(content), zlib.crc32(content)
    return path


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("L", (28, 28), 90).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("first", [0, 1, 16, len(CONTENT), len(CONTENT) + 1])
def test_content_is_unpacked_as_it_was_packed(method: int, first: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", CONTENT, method)
    with zipfile.ZipFile(path) as archive, unpacked(archive, archive.getinfo(NAME)) as file:
        beginning = file.read(first)
        assert (beginning, beginning + file.read(MAX_FILE_BYTES)) == (CONTENT[:first], CONTENT)


@pytest.mark.parametrize("method", BLOCKS)
def test_content_is_read_up_to_its_claimed_size(method: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", CONTENT, method, goes_on_bytes=2**20)
    with zipfile.ZipFile(path) as archive:
        assert content_of(archive, NAME) == CONTENT


@pytest.mark.parametrize(
    ("method", "goes_on_bytes", "most_bytes"),
    [
        (zipfile.ZIP_DEFLATED, 4 * MAX_FILE_BYTES, 2 * MAX_FILE_BYTES + SPARE_BYTES),
        (zipfile.ZIP_BZIP2, MAX_FILE_BYTES, SPARE_BYTES),
        (zipfile.ZIP_LZMA, MAX_FILE_BYTES, SPARE_BYTES),
    ],
)
def test_picture_that_goes_on_beyond_its_size_takes_no_more_memory(
    method: int, goes_on_bytes: int, most_bytes: int, tmp_path: Path
) -> None:
    volume = Volume(tmp_path)
    volume.original(DATASET).parent.mkdir(parents=True)
    path = packed(volume.original(DATASET), picture(), method, goes_on_bytes=goes_on_bytes)
    tracemalloc.start()
    try:
        assert prepare(path, DATASET, volume, silent).images == 1
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def test_dictionary_of_lzma_takes_no_more_memory_than_a_file(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", CONTENT, zipfile.ZIP_LZMA)
    whole = bytearray(path.read_bytes())
    struct.pack_into("<L", whole, 30 + len(NAME) + 5, 2**32 - 1)  # claimed by the properties of the stream
    path.write_bytes(whole)
    tracemalloc.start()
    try:
        with zipfile.ZipFile(path) as archive:
            assert content_of(archive, NAME) == CONTENT
        assert tracemalloc.get_traced_memory()[1] < MAX_FILE_BYTES + SPARE_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", METHODS)
def test_content_that_is_not_what_was_packed_is_refused(method: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", CONTENT, method)
    with zipfile.ZipFile(path) as archive:
        archive.getinfo(NAME).CRC ^= 1
        with pytest.raises(zipfile.BadZipFile, match="CRC"):
            content_of(archive, NAME)


@pytest.mark.parametrize("method", BLOCKS)
@pytest.mark.parametrize("size_bytes", [0, 3, 8, 1_000])
def test_file_that_is_cut_off_is_refused(method: int, size_bytes: int, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", CONTENT, method)
    with zipfile.ZipFile(path) as archive:
        archive.getinfo(NAME).compress_size = size_bytes
        with pytest.raises((zipfile.BadZipFile, EOFError)):
            content_of(archive, NAME)
