import errno
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.dataset import ArrayForm, Manifest
from contract.durable import RequireRoom, once
from contract.errors import ErrorCode, ServiceError
from contract.volume import Volume
from models.datasets.archive import prepare
from models.datasets.arrays import array
from models.datasets.split import FEWEST_REALS
from models.silence import silent

DATASET = "ds_" + "0" * 16
SMALL = ArrayForm(32, 1, "crop")

Upload = Callable[[Mapping[str, bytes]], Path]


def png(shade: int | tuple[int, int, int], size: tuple[int, int] = (28, 28)) -> bytes:
    file = io.BytesIO()
    Image.new("L" if isinstance(shade, int) else "RGB", size, shade).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


@pytest.fixture
def upload(volume: Volume) -> Upload:
    """Writes a zip of the given files to where uploads are stored."""

    def put(files: Mapping[str, bytes]) -> Path:
        path = volume.original(DATASET)
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path

    return put


def prepared(volume: Volume, path: Path) -> Manifest:
    return prepare(path, DATASET, volume, silent)


def test_pictures_are_in_the_order_of_their_names(volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"b.png": png(20), "a/z.png": png(10), "c.png": png(30)}))
    assert manifest.files == ("a/z.png", "b.png", "c.png")
    assert array(volume, manifest, SMALL)[:, 0, 0, 0].tolist() == [10, 20, 30]


def test_manifest_describes_what_was_found(volume: Volume, upload: Upload) -> None:
    files = {"a.png": png(1), "b.png": png(2, (40, 20)), "copy.png": png(1), "cut.png": png(3)[:40]}
    manifest = prepared(volume, upload(files))
    assert (manifest.images, manifest.duplicate_images, manifest.rejected_images) == (2, 1, 1)
    assert (manifest.median_width, manifest.median_height) == (28, 20)
    assert manifest.hashes == (sha256(png(1)).hexdigest(), sha256(png(2, (40, 20))).hexdigest())
    assert manifest.held_out_images == len(manifest.held_out)


def test_manifest_on_the_volume_is_the_one_returned(volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"a.png": png(1)}))
    assert Manifest.model_validate(json.loads(volume.manifest(DATASET).read_text())) == manifest


def test_default_array_exists_once_the_manifest_does(volume: Volume, upload: Upload) -> None:
    prepared(volume, upload({"a.png": png((1, 2, 3), (200, 100))}))
    assert volume.array(DATASET, ArrayForm(64, 3, "crop")).exists()


def test_rejected_file_has_its_reason_in_a_sentence(volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"a.png": png(1), "b.heic": b"ftypheic", "c": png(2)[:40]}))
    assert [rejected.name for rejected in manifest.rejected] == ["b.heic", "c"]
    assert all(rejected.reason.endswith(".") for rejected in manifest.rejected)


def test_picture_with_an_endless_name_is_rejected_under_a_short_one(volume: Volume, upload: Upload) -> None:
    names = {length: f"{'n' * (length - 4)}.png" for length in (1_024, 1_025, 60_000)}
    manifest = prepared(volume, upload({name: png(length % 256) for length, name in names.items()}))
    assert manifest.files == (names[1_024],)
    assert [len(file.name) for file in manifest.rejected] == [200, 200]
    assert {file.reason for file in manifest.rejected} == {"Its name has more than 1,024 characters."}


@pytest.mark.parametrize(
    "name", ["LICENSE.txt", "labels.csv", "__MACOSX/._a.png", ".hidden/b.png", "d/.DS_Store", "directory/"]
)
def test_files_other_than_the_users_pictures_are_ignored(name: str, volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"a.png": png(1), name: b"" if name.endswith("/") else b"text"}))
    assert (manifest.images, manifest.rejected_images) == (1, 0)


@pytest.mark.parametrize("options", [{"format": "PPM"}, {"format": "TIFF", "big_tiff": True}])
def test_picture_is_recognised_by_its_content_whatever_its_name(
    options: dict[str, Any], volume: Volume, upload: Upload
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (10, 20, 30)).save(file, **options)
    manifest = prepared(volume, upload({"notes.txt": b"hello", "photo": file.getvalue()}))
    assert (manifest.files, manifest.rejected) == (("photo",), ())


def test_names_with_relative_paths_are_accepted(volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"./a.png": png(10), "../b.png": png(20)}))
    assert manifest.files == ("../b.png", "./a.png")


def test_file_whose_name_starts_with_a_nul_is_ignored(volume: Volume, upload: Upload) -> None:
    path = upload({"a.png": png(10), "b.png": png(20)})
    _overwritten(path, b"PK\x01\x02", 46, b"\0")
    assert prepared(volume, path).files == ("a.png",)


@pytest.mark.parametrize(
    ("shades", "channels"),
    [([1, 2], 1), ([1, (2, 2, 2)], 1), ([1, (2, 3, 2)], 3)],
    ids=["grey", "grey-as-rgb", "one-coloured"],
)
def test_channels_are_one_only_if_every_picture_is_grey(
    shades: list[int | tuple[int, int, int]], channels: int, volume: Volume, upload: Upload
) -> None:
    files = {f"{index}.png": png(shade) for index, shade in enumerate(shades)}
    assert prepared(volume, upload(files)).channels == channels


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not really", b"hello"])
def test_file_that_is_not_a_zip_is_refused(content: bytes, volume: Volume, tmp_path: Path) -> None:
    path = tmp_path / "upload.zip"
    path.write_bytes(content)
    with pytest.raises(ServiceError) as refusal:
        prepared(volume, path)
    assert refusal.value.code is ErrorCode.NOT_A_ZIP


def _overwritten(path: Path, signature: bytes, offset: int, content: bytes) -> None:
    """Overwrite bytes of the last header with this signature."""
    whole = bytearray(path.read_bytes())
    start = whole.rindex(signature) + offset
    whole[start : start + len(content)] = content
    path.write_bytes(whole)


@pytest.mark.parametrize(("offset", "content"), [(46, b"\xff"), (6, b"\x63")], ids=["name", "version"])
def test_zip_with_an_unreadable_directory_is_refused(
    offset: int, content: bytes, volume: Volume, upload: Upload
) -> None:
    path = upload({"é.png": png(1)})
    _overwritten(path, b"PK\1\2", offset, content)
    with pytest.raises(ServiceError) as refusal:
        prepared(volume, path)
    assert refusal.value.code is ErrorCode.NOT_A_ZIP


def test_file_with_an_unreadable_name_in_its_local_header_is_rejected(volume: Volume, upload: Upload) -> None:
    path = upload({"a.png": png(1), "é.png": png(2)})
    _overwritten(path, b"PK\3\4", 30, b"\xff")
    manifest = prepared(volume, path)
    assert (manifest.files, [file.name for file in manifest.rejected]) == (("a.png",), ["é.png"])


def test_damaged_lzma_file_is_rejected(volume: Volume, upload: Upload) -> None:
    path = upload({"a.png": png(1)})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("b.png", png(2))
    _overwritten(path, b"PK\3\4", 30 + len("b.png") + 4, b"\xff")  # the properties of the LZMA stream
    manifest = prepared(volume, path)
    assert (manifest.files, [file.name for file in manifest.rejected]) == (("a.png",), ["b.png"])


def test_file_at_an_impossible_place_is_rejected(volume: Volume, upload: Upload) -> None:
    path = upload({"a.png": png(1), "b.png": png(2)})
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2", content.index(b"PK\1\2") + 4)  # of b.png, the last in the directory
    struct.pack_into("<H", content, entry + 30, 12)
    struct.pack_into("<L", content, entry + 42, 2**32 - 1)  # its offset is in the extra field
    at = entry + 46 + len("b.png")
    content[at:at] = struct.pack("<HHQ", 1, 8, 2**63)
    (size,) = struct.unpack_from("<L", content, content.index(b"PK\5\6") + 12)
    struct.pack_into("<L", content, content.index(b"PK\5\6") + 12, size + 12)
    path.write_bytes(content)
    manifest = prepared(volume, path)
    assert (manifest.files, [file.name for file in manifest.rejected]) == (("a.png",), ["b.png"])


@pytest.mark.parametrize("files", [{}, {"README": b"text"}, {"a.png": b"", "b.jpg": b"\xff\xd8\xff"}])
def test_zip_without_a_usable_picture_is_refused_and_leaves_no_manifest(
    files: Mapping[str, bytes], volume: Volume, upload: Upload
) -> None:
    path = upload(files)
    with pytest.raises(ServiceError) as refusal:
        prepared(volume, path)
    assert refusal.value.code is ErrorCode.NO_IMAGES
    assert not volume.manifest(DATASET).exists()


def test_damage_inside_the_zip_costs_one_picture(volume: Volume, upload: Upload) -> None:
    with zipfile.ZipFile(path := upload({}), "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", png(1))
        archive.writestr("b.png", png(2))
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") + 8] ^= 255
    path.write_bytes(content)
    manifest = prepared(volume, path)
    assert manifest.files == ("b.png",)
    assert manifest.rejected[0].name == "a.png"


def test_progress_ends_complete_and_never_goes_back(volume: Volume, upload: Upload) -> None:
    reports: list[tuple[int, int]] = []
    path = upload({f"{index}.png": png(index) for index in range(150)})
    prepare(path, DATASET, volume, lambda done, total: reports.append((done, total)))
    shares = [done / total for done, total in reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(reports) >= 6


@pytest.mark.parametrize(("channels", "pixel"), [(1, [124]), (3, [200, 100, 50])])
def test_array_is_derived_on_demand(channels: int, pixel: list[int], volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"a.png": png((200, 100, 50))}))
    pixels = array(volume, manifest, ArrayForm(128, channels, "stretch"))
    assert pixels.shape == (1, channels, 128, 128)
    assert pixels[0, :, 5, 5].tolist() == pixel


def test_array_is_derived_once(volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"a.png": png(1)}))
    volume.original(DATASET).unlink()
    assert array(volume, manifest, SMALL).dtype == np.uint8


def test_writing_into_the_array_does_not_reach_the_file(volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({"a.png": png(9)}))
    array(volume, manifest, SMALL)[:] = 0
    assert array(volume, manifest, SMALL).min() == 9


def test_order_of_files_in_the_zip_does_not_change_the_dataset(
    volume: Volume, upload: Upload, tmp_path: Path
) -> None:
    files = {f"{index}.png": png(index) for index in range(5)}
    one = prepared(volume, upload(files))
    other = prepared(volume, upload(dict(reversed(files.items()))))
    assert one == other


def test_enough_of_hundreds_of_pictures_are_held_out(volume: Volume, upload: Upload) -> None:
    manifest = prepared(volume, upload({f"{index}.png": png(index) for index in range(160)}))
    assert manifest.held_out_images == len(manifest.held_out) == FEWEST_REALS


def test_preparing_does_not_import_torch() -> None:
    code = "import sys, models.datasets.archive; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_array_leaves_no_file_on_a_full_disk_and_is_made_by_a_retry(
    volume: Volume, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = prepared(volume, upload({"a.png": png(10), "b.png": png(20)}))
    tries: list[list[str]] = []

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def insist(write: Callable[[RequireRoom], None], path: Path, size_bytes: int) -> None:
        assert size_bytes == 2 * 16 * 16
        with monkeypatch.context() as full, pytest.raises(OSError, match="No space"):
            full.setattr(os, "fsync", refuse)
            write(lambda: None)
        tries.append([found.name for found in path.parent.glob("*.npy*")])
        write(lambda: None)

    pixels = array(volume, manifest, ArrayForm(16, 1, "crop"), silent, insist)
    assert pixels[:, 0, 0, 0].tolist() == [10, 20]
    assert tries == [["32-1-crop.npy"]]


def test_array_is_the_file_that_numpy_would_write(volume: Volume, upload: Upload, tmp_path: Path) -> None:
    manifest = prepared(volume, upload({f"{shade}.png": png(shade) for shade in range(70)}))
    pixels = array(volume, manifest, SMALL)
    np.save(tmp_path / "numpy.npy", pixels)
    assert volume.array(DATASET, SMALL).read_bytes() == (tmp_path / "numpy.npy").read_bytes()


@pytest.mark.parametrize("part", [DATASET, "arrays", "manifest.json"])
def test_dataset_that_is_deleted_while_it_is_prepared_is_not_recreated(
    part: str, volume: Volume, upload: Upload
) -> None:
    def delete_before(write: Callable[[RequireRoom], None], path: Path, size_bytes: int) -> None:
        if part in path.parts:
            shutil.rmtree(volume.dataset(DATASET))
        once(write, path, size_bytes)

    with pytest.raises(FileNotFoundError):
        prepare(upload({"a.png": png(1)}), DATASET, volume, silent, delete_before)
    assert not volume.dataset(DATASET).exists()
