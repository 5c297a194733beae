"""Arrays derived on a volume that fails, and by processes that want the same one at the same time."""

import fcntl
import io
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO

import numpy as np
import pytest
from PIL import Image

from contract import durable
from contract.dataset import ArrayForm
from contract.volume import Volume
from models.datasets import arrays
from models.datasets.archive import prepare
from models.datasets.arrays import PATIENCE_POLLS, Pixels, array
from models.silence import silent

DATASET = "ds_" + "0" * 16
PICTURES = 3

Derive = Callable[..., Pixels]


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path)


def form(resolution: int = 128) -> ArrayForm:
    return ArrayForm(resolution, 1, "crop")


@pytest.fixture
def derive(volume: Volume) -> Derive:
    """Opens an array of a dataset that has one of 32 pixels; takes a `report` and a resolution."""
    path = volume.original(DATASET)
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for shade in range(PICTURES):
            picture = io.BytesIO()
            Image.new("L", (28, 28), shade).save(picture, "PNG")
            archive.writestr(f"{shade}.png", picture.getvalue())
    manifest = prepare(path, DATASET, volume, silent)
    return lambda report=silent, resolution=128: array(volume, manifest, form(resolution), report)


@pytest.fixture
def no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "WAIT_SECONDS", 0)


def path_of(volume: Volume) -> Path:
    return volume.array(DATASET, form())


def temporaries(volume: Volume) -> list[str]:
    return [path.name for path in volume.arrays(DATASET).glob(".*")]


@contextmanager
def another(volume: Volume, name: str = ".128-1-crop.npy.another.tmp") -> Iterator[BinaryIO]:
    """The file of a living process that derives an array."""
    with (volume.arrays(DATASET) / name).open("wb", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_process_shows_life_while_another_derives_its_array(volume: Volume, derive: Derive) -> None:
    reports: list[int] = []
    with another(volume) as file:

        def report(done: int, total: int) -> None:
            assert total == PICTURES
            reports.append(done)
            if len(reports) == 2:
                fcntl.flock(file, fcntl.LOCK_UN)  # it died

        assert derive(report).max() == PICTURES - 1
    assert reports == [0, 0, 1, 2, 3]
    assert not temporaries(volume)


@pytest.mark.usefixtures("no_sleep")
def test_process_that_writes_is_waited_for_however_long_it_takes(volume: Volume, derive: Derive) -> None:
    pixels, reports = np.zeros((PICTURES, 1, 128, 128), np.uint8), list[int]()
    with another(volume) as file:

        def report(done: int, total: int) -> None:
            del total
            reports.append(done)
            if len(reports) % (PATIENCE_POLLS - 1) == 0:
                file.write(b"more")
            if len(reports) == 3 * PATIENCE_POLLS:
                np.save(path_of(volume), pixels)

        assert np.array_equal(derive(report), pixels)
    assert set(reports) == {0}


def test_file_grows_while_it_is_written(
    volume: Volume, derive: Derive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "SYNC_BYTES", 1)
    sizes: list[int] = []

    def report(done: int, total: int) -> None:
        del done, total
        sizes.extend(path.stat().st_size for path in volume.arrays(DATASET).glob(".*"))

    derive(report)
    assert len(set(sizes)) == PICTURES


@pytest.mark.usefixtures("no_sleep")
def test_suspended_process_is_not_waited_for_and_may_go_on_later(volume: Volume, derive: Derive) -> None:
    suspended, resumed, reports = Event(), Event(), list[int]()

    def suspend(done: int, total: int) -> None:
        del total
        if done == 2:
            suspended.set()
            assert resumed.wait(60)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(derive, suspend)
        assert suspended.wait(60)
        second = derive(lambda done, _: reports.append(done))
        content = path_of(volume).read_bytes()
        assert len(temporaries(volume)) == 1
        resumed.set()
        assert np.array_equal(first.result(), second)
    assert reports == [0] * PATIENCE_POLLS + [1, 2, 3]
    assert path_of(volume).read_bytes() == content
    assert not temporaries(volume)


def test_what_dead_processes_left_of_any_array_is_removed_and_living_ones_keep_theirs(
    volume: Volume, derive: Derive
) -> None:
    (volume.arrays(DATASET) / ".32-1-crop.npy.dead.tmp").write_bytes(b"half")
    (volume.arrays(DATASET) / ".128-1-crop.npy.dead.tmp").write_bytes(b"half")
    with another(volume, ".64-1-crop.npy.alive.tmp"):
        derive()
        assert temporaries(volume) == [".64-1-crop.npy.alive.tmp"]
    derive()  # the array is there, but the other process has died
    assert not temporaries(volume)


def test_file_is_not_taken_for_a_dead_ones_between_its_end_and_its_renaming(
    derive: Derive, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, looks = durable.publish_durably, list[Path]()

    def publish_after_a_look(temporary: Path, path: Path) -> None:
        looks.append(temporary)
        derive(resolution=32)
        publish(temporary, path)

    monkeypatch.setattr(durable, "publish_durably", publish_after_a_look)
    assert derive().max() == PICTURES - 1
    assert looks


def test_file_that_was_taken_for_a_dead_ones_before_it_was_locked_is_begun_anew(
    volume: Volume, derive: Derive, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, removed = fcntl.flock, list[str]()

    def lock_late(file: BinaryIO, operation: int) -> None:
        if not removed:
            (name,) = temporaries(volume)
            removed.append(name)
            (volume.arrays(DATASET) / name).unlink()
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    assert derive(lambda *_: derive(resolution=32)).max() == PICTURES - 1  # others look while it is written
    assert removed
