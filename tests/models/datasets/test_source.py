"""An archive on a volume that fails for a while, or that does not give it back."""

import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from PIL import Image

from contract.dataset import ArrayForm
from contract.durable import at_once
from contract.volume import Volume
from models.datasets.archive import prepare
from models.datasets.arrays import array
from models.datasets.source import Source, UnreadableError
from models.silence import silent

DATASET = "ds_" + "0" * 16
PICTURES = 9

T = TypeVar("T")


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """Holds an archive that has not been prepared."""
    volume = Volume(tmp_path)
    volume.original(DATASET).parent.mkdir(parents=True)
    with zipfile.ZipFile(volume.original(DATASET), "w") as archive:
        for shade in range(PICTURES):
            picture = io.BytesIO()
            Image.new("L", (28, 28), shade).save(picture, "PNG")
            archive.writestr(f"{shade}.png", picture.getvalue())
    return volume


class Failing:
    """Reads of a volume that fails after some of them."""

    def __init__(self, reads: int, error: int = errno.EIO) -> None:
        self._left = reads
        self._error = error

    def __call__(self, read: Callable[[], T], _: Path) -> T:
        self._left -= 1
        if self._left < 0:
            raise OSError(self._error, os.strerror(self._error))
        return read()


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
@pytest.mark.parametrize(
    "reads", [0, 1, 2, 3, 4, 20], ids=["size", "end", "directory", "head", "first picture", "later picture"]
)
def test_volume_that_fails_is_no_fault_of_the_archive(volume: Volume, reads: int, error: int) -> None:
    with pytest.raises(UnreadableError, match=os.strerror(error)) as raised:
        prepare(volume.original(DATASET), DATASET, volume, silent, read=Failing(reads, error))
    assert str(volume.original(DATASET)) in str(raised.value)
    assert not volume.manifest(DATASET).exists()


@pytest.mark.parametrize("reads", [0, 1, 2, 3, 4, 20])
def test_volume_that_fails_leaves_no_half_array(volume: Volume, reads: int) -> None:
    manifest = prepare(volume.original(DATASET), DATASET, volume, silent)
    with pytest.raises(UnreadableError):
        array(volume, manifest, ArrayForm(16, 1, "crop"), read=Failing(reads))
    assert [path.name for path in volume.arrays(DATASET).iterdir()] == ["32-1-crop.npy"]


def test_archive_is_opened_anew_after_an_error(volume: Volume) -> None:
    path = volume.original(DATASET)
    whole = path.with_name("whole")
    tries: list[str] = []

    def twice(read: Callable[[], T], _: Path) -> T:
        try:
            return read()
        except OSError as error:
            tries.append(os.strerror(error.errno or 0))
            whole.replace(path)
            return read()

    source = Source(path, twice)
    path.rename(whole)
    path.symlink_to("/proc/self/mem")  # to read its beginning is an EIO
    source.seek(2)
    assert source.read(2) == b"\x03\x04"
    assert source.tell() == 4
    source.close()
    assert tries == [os.strerror(errno.EIO)]


def test_offset_beyond_every_file_system_costs_one_picture(volume: Volume) -> None:
    with zipfile.ZipFile(volume.original(DATASET), "a") as archive:
        archive.infolist()[1].header_offset = 2**63 - 1
        archive.writestr("last.png", archive.read("0.png"))  # has the directory written anew
    manifest = prepare(volume.original(DATASET), DATASET, volume, silent)
    assert manifest.images == PICTURES - 1
    assert manifest.rejected_images == 1


def test_positions_are_those_of_a_file(volume: Volume) -> None:
    path = volume.original(DATASET)
    source = Source(path, at_once)
    with path.open("rb") as file:
        for offset, whence in [(-22, os.SEEK_END), (3, os.SEEK_SET), (2, os.SEEK_CUR)]:
            assert source.seek(offset, whence) == file.seek(offset, whence) == source.tell()
            assert source.read(7) == file.read(7)
    with pytest.raises(OSError, match="Invalid argument"):
        source.seek(-1)
    source.close()
