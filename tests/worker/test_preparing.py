"""A preparer's child on a volume that rejects writes."""

import errno
import os
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from contract.dataset import DatasetSpec
from contract.durable import replace_durably
from contract.volume import Volume
from models.datasets import archive
from tests.worker.training_child import DATASET, grey_squares, order_for
from tests.worker.unmounted import Unmounted
from worker import link
from worker.child import Chore
from worker.orders import PreparingOrder
from worker.preparing import prepare_dataset


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
