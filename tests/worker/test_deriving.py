"""Trainers that need the same array, on a volume with room for one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from contract.dataset import ArrayForm, Manifest
from contract.job import Shortage
from contract.volume import Volume
from models.datasets.arrays import Pixels, array
from models.silence import silent
from tests.worker.training_child import DATASET, order_for, square
from worker.room import SPARE_BYTES, Room

PICTURES = 20
ARRAY_BYTES = PICTURES * 128 * 128

KILLED = """
import os, signal, sys
from pathlib import Path
from contract.dataset import ArrayForm, Manifest
from contract.volume import Volume
from models.datasets.arrays import array

volume = Volume(Path(sys.argv[1]))
manifest = Manifest.model_validate_json(volume.manifest(sys.argv[2]).read_bytes())
die = lambda done, _: done > 10 and os.kill(os.getpid(), signal.SIGKILL)
array(volume, manifest, ArrayForm(128, 1, "crop"), die)
"""


class Trainer:
    """Derives or awaits the array. It records the shortages that it reports, and does not wait for room."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.told: list[Shortage | None] = []

    def array(self, report: Callable[[int, int], None] = silent) -> Pixels:
        manifest = Manifest.model_validate_json(self._volume.manifest(DATASET).read_bytes())
        room = Room(self._volume, self.told.append, _no_patience, SPARE_BYTES)
        return array(self._volume, manifest, ArrayForm(128, 1, "crop"), report, room.insist)


def _no_patience(seconds: float) -> None:
    raise TimeoutError(seconds)


@pytest.fixture
def tight(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> Volume:
    """A dataset whose volume has room for one more array."""
    order_for(volume, (square(shade) for shade in range(PICTURES)))
    before = _used_bytes(volume)

    def statistics(_: Path) -> os.statvfs_result:
        free = SPARE_BYTES + ARRAY_BYTES + 4096 - (_used_bytes(volume) - before)
        return os.statvfs_result((1, 1, 2**40, free, free, 100, 100, 100, 0, 255))

    monkeypatch.setattr(os, "statvfs", statistics)
    return volume


def _used_bytes(volume: Volume) -> int:
    return sum(path.stat().st_size for path in volume.arrays(DATASET).iterdir())


def test_room_that_a_killed_trainer_took_is_used_by_its_successor(tight: Volume) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tight.root, DATASET], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [*tight.arrays(DATASET).glob(".*.tmp")]
    successor = Trainer(tight)
    assert sorted(successor.array()[:, 0, 0, 0].tolist()) == list(range(PICTURES))
    assert not successor.told
    assert not [*tight.arrays(DATASET).glob(".*.tmp")]


def test_trainer_that_awaits_another_ones_array_needs_no_room_for_its_own(tight: Volume) -> None:
    first, second, second_waits = Trainer(tight), Trainer(tight), Event()
    with ThreadPoolExecutor(1) as pool:

        def report(done: int, total: int) -> None:
            if done == total:
                awaited.append(pool.submit(second.array, lambda *_: second_waits.set()))
                assert second_waits.wait(60)

        awaited: list[Future[Pixels]] = []
        derived = first.array(report)
        assert np.array_equal(awaited[0].result(), derived)
    assert not second.told
