"""What is left of a preparation by another version of the program, which accepted other pictures."""

import errno
import fcntl
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PIL import Image

from contract.dataset import ArrayForm, Manifest
from contract.durable import Read, at_once
from contract.volume import Volume
from models.datasets.archive import prepare
from models.datasets.arrays import array
from models.silence import silent

DATASET = "ds_" + "0" * 16

T = TypeVar("T")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.original(DATASET).parent.mkdir(parents=True)
    return volume


def prepared(volume: Volume, *shades: int, read: Read = at_once) -> Manifest:
    """Prepare the dataset. The archive's pictures stand for those that a version accepts."""
    with zipfile.ZipFile(volume.original(DATASET), "w") as archive:
        for shade in shades:
            picture = io.BytesIO()
            Image.new("L", (32, 32), shade).save(picture, "PNG")
            archive.writestr(f"{shade}.png", picture.getvalue())
    return prepare(volume.original(DATASET), DATASET, volume, silent, read=read)


def shades_of(volume: Volume, manifest: Manifest, resolution: int) -> list[int]:
    pixels = array(volume, manifest, ArrayForm(resolution, 1, "crop"))
    assert np.ptp(pixels, axis=(1, 2, 3)).max() == 0
    return [int(shade) for shade in pixels[:, 0, 0, 0]]


@pytest.mark.parametrize("is_written", [True, False])
def test_arrays_of_another_manifest_are_not_used(volume: Volume, *, is_written: bool) -> None:
    earlier = prepared(volume, 10, 20, 30)
    assert shades_of(volume, earlier, 64) == [10, 20, 30]
    if not is_written:
        volume.manifest(DATASET).unlink()
    manifest = prepared(volume, 20, 30)
    assert [shades_of(volume, manifest, resolution) for resolution in (32, 64)] == [[20, 30], [20, 30]]


def test_manifest_is_never_there_with_the_arrays_of_another(volume: Volume) -> None:
    prepared(volume, 10, 20, 30)
    (volume.arrays(DATASET) / "64-1-crop.npy").mkdir()  # it cannot be removed
    with pytest.raises(OSError, match="64-1-crop"):
        prepared(volume, 20, 30)
    assert not volume.manifest(DATASET).exists()


def test_preparation_that_comes_to_the_manifest_that_is_there_keeps_its_arrays(volume: Volume) -> None:
    manifest = prepared(volume, 10, 20)
    path = volume.array(DATASET, ArrayForm(32, 1, "crop"))
    derived = path.stat()
    assert prepared(volume, 10, 20) == manifest
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (derived.st_ino, derived.st_mtime_ns)


def test_manifest_that_the_disk_does_not_give_back_is_replaced(volume: Volume) -> None:
    def read(read: Callable[[], T], path: Path) -> T:
        if path == volume.manifest(DATASET):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read()

    shades_of(volume, prepared(volume, 10, 20, 30), 64)
    manifest = prepared(volume, 20, 30, read=read)
    assert Manifest.model_validate_json(volume.manifest(DATASET).read_bytes()) == manifest
    assert shades_of(volume, manifest, 64) == [20, 30]


def test_temporary_files_of_killed_preparers_are_removed_and_a_living_ones_array_is_not(
    volume: Volume,
) -> None:
    arrays = volume.arrays(DATASET)
    arrays.mkdir()
    for torn in (volume.dataset(DATASET) / ".manifest.json.0.tmp", arrays / ".32-1-crop.npy.0.tmp"):
        torn.write_bytes(b"half")
    with (arrays / ".64-1-crop.npy.1.tmp").open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        prepared(volume, 10, 20)
        assert [path.name for path in volume.dataset(DATASET).rglob("*.tmp")] == [".64-1-crop.npy.1.tmp"]
