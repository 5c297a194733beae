"""A preparer's child on a volume that rejects writes."""

import errno
import math
import os
import shutil
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from contract.dataset import DatasetSpec
from contract.durable import replace_durably
from contract.job import Shortage
from contract.volume import Volume
from models.datasets import archive
from models.datasets.source import UnreadableError
from tests.worker.bad_sector import BadSector
from tests.worker.training_child import DATASET, grey_squares, order_for, said_by
from tests.worker.unmounted import Unmounted
from worker import link, preparing
from worker.child import Chore, StopRequestedError
from worker.orders import PreparingOrder
from worker.preparing import prepare_dataset
from worker.room import LONGEST_PAUSE_SECONDS, READ_PATIENCE_SECONDS

IN_THE_SURVEY, IN_THE_ARRAY = 10, 25
"""Numbers of reads."""


def said(supervisor: Connection) -> list[link.Message]:
    messages = []
    while supervisor.poll():
        messages.append(link.receive(supervisor))
    return messages


def test_preparer_waits_for_a_volume_that_is_away(volume: Volume) -> None:
    order_for(volume, grey_squares())
    manifest = volume.manifest(DATASET).read_bytes()
    volume.manifest(DATASET).unlink()
    supervisor, child = Pipe(duplex=True)
    order = PreparingOrder(dataset=DATASET, spec=DatasetSpec(bytes=1), data_root=volume.root)
    prepare_dataset(order.model_dump_json(), Unmounted(child, volume))
    first, *_, last = said(supervisor)
    assert isinstance(first, link.Waiting)
    assert isinstance(last, link.Finished)
    assert volume.manifest(DATASET).read_bytes() == manifest


@pytest.fixture
def unprepared(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> PreparingOrder:
    """An order for a dataset of four pictures, of which each is reported."""
    order_for(volume, grey_squares())
    shutil.rmtree(volume.arrays(DATASET))
    volume.manifest(DATASET).unlink()
    monkeypatch.setattr(preparing, "REPORT_SECONDS", 0)
    return PreparingOrder(dataset=DATASET, spec=DatasetSpec(bytes=1), data_root=volume.root)


def refuse(monkeypatch: pytest.MonkeyPatch, number: int, times: float, rest: Callable[[float], None]) -> None:
    def room_of(chore: Chore, volume: Volume) -> BadSector:
        def tell(lacking: Shortage | None) -> None:
            chore.tell(link.Waiting(shortage=lacking))

        return BadSector(volume, tell, rest, number=number, times=times)

    monkeypatch.setattr(preparing, "room_of", room_of)


@pytest.mark.parametrize("number", [0, 1, 2, IN_THE_SURVEY, IN_THE_ARRAY])
def test_read_that_is_refused_for_a_while_is_all_that_is_repeated(
    unprepared: PreparingOrder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    rests: list[float] = []
    refuse(monkeypatch, number, 3, rests.append)
    told = said_by(prepare_dataset, unprepared.model_dump_json())
    waits = [message.shortage for message in told if isinstance(message, link.Waiting)]
    assert [shortage and shortage.code for shortage in waits] == ["volume_failing"] * len(rests) + [None]
    assert len(rests) == 3
    over = told.index(link.Waiting(shortage=None))
    assert any(isinstance(message, link.Advanced) for message in told[over:])
    dones = [message.progress.done for message in told if isinstance(message, link.Advanced)]
    assert dones == list(range(1, 9))


@pytest.mark.parametrize("number", [0, 1, 2, IN_THE_SURVEY, IN_THE_ARRAY])
def test_archive_in_a_bad_sector_is_given_up(
    volume: Volume, unprepared: PreparingOrder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    rests: list[float] = []
    refuse(monkeypatch, number, math.inf, rests.append)
    told: list[link.Message] = []
    with pytest.raises(UnreadableError, match=str(volume.original(DATASET))):
        said_by(prepare_dataset, unprepared.model_dump_json(), told)
    assert READ_PATIENCE_SECONDS <= sum(rests) < READ_PATIENCE_SECONDS + LONGEST_PAUSE_SECONDS
    assert link.Waiting(shortage=None) in told
    assert not volume.manifest(DATASET).exists()
    assert not [*volume.dataset(DATASET).rglob("*.tmp")]


@pytest.mark.parametrize("number", [0, IN_THE_SURVEY, IN_THE_ARRAY])
def test_stop_ends_the_wait_for_a_read(
    unprepared: PreparingOrder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def stop(_seconds: float) -> None:
        raise StopRequestedError

    refuse(monkeypatch, number, math.inf, stop)
    with pytest.raises(StopRequestedError):
        said_by(prepare_dataset, unprepared.model_dump_json())


def test_preparer_without_room_waits_and_then_prepares_the_dataset(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_for(volume, grey_squares())
    manifest = volume.manifest(DATASET).read_bytes()
    volume.manifest(DATASET).unlink()
    (array,) = volume.arrays(DATASET).glob("*.npy")
    pixels = array.read_bytes()
    array.unlink()
    (volume.arrays(DATASET) / ".torn.npy.tmp").write_bytes(b"left by a killed preparer")
    refusals = [errno.ENOSPC, errno.EROFS]

    def refuse_at_first(path: Path, content: bytes) -> None:
        if refusals:
            code = refusals.pop(0)
            raise OSError(code, os.strerror(code))
        replace_durably(path, content)

    monkeypatch.setattr(archive, "replace_durably", refuse_at_first)
    supervisor, child = Pipe(duplex=True)
    order = PreparingOrder(dataset=DATASET, spec=DatasetSpec(bytes=1), data_root=volume.root)
    prepare_dataset(order.model_dump_json(), Chore(child))
    told = said(supervisor)
    assert [
        message.shortage and message.shortage.code for message in told if isinstance(message, link.Waiting)
    ] == ["volume_full", "volume_read_only", None]
    assert isinstance(told[-1], link.Finished)
    assert volume.manifest(DATASET).read_bytes() == manifest
    assert [path.read_bytes() for path in volume.arrays(DATASET).glob("*.npy")] == [pixels]
    assert not [*volume.dataset(DATASET).rglob("*.tmp")]
