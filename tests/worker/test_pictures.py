"""A run's pictures on a volume that goes away while they are read."""

import errno
import math
import os
import shutil
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import pytest

from contract.durable import RequireRoom
from contract.job import Shortage
from contract.volume import Volume
from models.datasets.source import Source, UnreadableError
from models.silence import silent
from tests.worker.bad_sector import BadSector
from tests.worker.training_child import DATASET, carry_out, clothes, order_for
from tests.worker.unmounted import Unmounted
from worker import link
from worker.pictures import discard_unreadable, manifest_of, pictures_of
from worker.room import Room, room_of

T = TypeVar("T")


class GoneOnceMade(Room):
    """The room of a child whose volume goes away once the array has been made, until the child waits."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume, silent, self._mount)
        self._root = volume.root
        self._away = volume.root.with_name("away")
        self.waits = 0

    def insist(self, write: Callable[[RequireRoom], T], path: Path, size_bytes: int) -> T:
        made = super().insist(write, path, size_bytes)
        if not self.waits:
            self._root.rename(self._away)
            self._root.mkdir()
        return made

    def _mount(self, _seconds: float) -> None:
        self.waits += 1
        self._root.rmdir()
        self._away.rename(self._root)


def test_array_is_awaited_that_went_away_after_it_was_made(volume: Volume) -> None:
    spec = order_for(volume, clothes(4)).spec
    manifest = manifest_of(spec, volume, Room(volume, silent, silent))
    expected = pictures_of(spec, manifest, volume, Room(volume, silent, silent))
    room = GoneOnceMade(volume)
    assert np.array_equal(pictures_of(spec, manifest, volume, room), expected)
    assert room.waits == 1


@pytest.mark.parametrize("number", [0, 1, 2, 8])
def test_archive_in_a_bad_sector_ends_the_wait(volume: Volume, number: int) -> None:
    order = order_for(volume, clothes(4))
    manifest = manifest_of(order.spec, volume, Room(volume, silent, silent))
    shutil.rmtree(volume.arrays(DATASET))
    told: list[Shortage | None] = []
    room = BadSector(volume, told.append, silent, number=number, times=math.inf)
    with pytest.raises(UnreadableError, match=str(volume.original(DATASET))):
        pictures_of(order.spec, manifest, volume, room)
    assert told[-1] is None
    assert not [*volume.arrays(DATASET).iterdir()]


def test_manifest_is_awaited(volume: Volume) -> None:
    spec = order_for(volume, clothes(4)).spec
    _, child = Pipe(duplex=True)
    assert manifest_of(spec, volume, room_of(Unmounted(child, volume), volume)).images == 4


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_array_in_a_bad_sector_is_derived_anew(
    number: int, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.pictures.READ_BYTES", 1_000)
    spec = order_for(volume, clothes(4)).spec
    manifest = manifest_of(spec, volume, Room(volume, silent, silent))
    expected = pictures_of(spec, manifest, volume, Room(volume, silent, silent))
    told: list[Shortage | None] = []
    room = BadSector(volume, told.append, silent, number=number + 1, times=math.inf)
    discard_unreadable(spec, volume, room)
    (*_, last, over) = told
    assert last
    assert over is None
    assert "32-1-crop.npy is to be read" in last.detail
    assert not [*volume.arrays(DATASET).iterdir()]
    assert np.array_equal(pictures_of(spec, manifest, volume, room), expected)


def test_array_that_the_disk_does_not_give_back_at_once_is_kept(volume: Volume) -> None:
    spec = order_for(volume, clothes(4)).spec
    told: list[Shortage | None] = []
    discard_unreadable(spec, volume, BadSector(volume, told.append, silent, number=2, times=3))
    assert len(told) == 3 + 1
    assert [*volume.arrays(DATASET).iterdir()]


def test_array_that_another_trainer_deletes_meanwhile_is_no_trouble(volume: Volume) -> None:
    spec = order_for(volume, clothes(4)).spec
    array = volume.array(DATASET, spec.form)

    def delete(_seconds: float) -> None:
        array.unlink()

    discard_unreadable(spec, volume, BadSector(volume, silent, delete, number=2, times=1))
    assert not array.exists()


def test_array_that_only_this_host_cannot_read_is_kept(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Source, size: int) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    spec = order_for(volume, clothes(4)).spec
    monkeypatch.setattr(Source, "_read", refuse)
    with pytest.raises(UnreadableError, match="Permission denied"):
        discard_unreadable(spec, volume, Room(volume, silent, silent))
    assert [*volume.arrays(DATASET).iterdir()]


def test_array_that_is_not_there_is_no_trouble(volume: Volume) -> None:
    spec = order_for(volume, clothes(4)).spec
    shutil.rmtree(volume.arrays(DATASET))
    told: list[Shortage | None] = []
    discard_unreadable(spec, volume, Room(volume, told.append, silent))
    assert not told


@pytest.mark.parametrize(("deaths", "is_looked_at"), [(0, False), (1, True)])
def test_run_looks_at_the_whole_array_after_a_death(
    deaths: int, is_looked_at: bool, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, looks = order_for(volume, clothes(4)).model_copy(update={"deaths": deaths}), []
    monkeypatch.setattr("worker.opening.discard_unreadable", lambda *_: looks.append(1))
    assert isinstance(carry_out(order)[-1], link.Finished)
    assert bool(looks) == is_looked_at
