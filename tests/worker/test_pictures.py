"""A run's pictures on a volume that goes away while they are read."""

import math
import shutil
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from contract.durable import RequireRoom
from contract.job import Shortage
from contract.volume import Volume
from models.datasets.source import UnreadableError
from models.silence import silent
from tests.worker.bad_sector import BadSector
from tests.worker.training_child import DATASET, clothes, order_for
from tests.worker.unmounted import Unmounted
from worker.pictures import manifest_of, pictures_of
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
