"""What a rebuild cannot list or enter, or what is away for a while, is not taken for missing."""

import shutil

import pytest

from contract.durable import write_durably
from contract.job import State
from contract.keys import RecordKind
from contract.volume import Volume
from worker.rebuild import Rebuilder
from worker.store import Store

JOB, OTHER = "job_0000000000000001", "job_0000000000000002"
SPEC = b'{"dataset": "ds_0123456789abcdef"}'
DIGEST = "sha256:" + "1" * 64


def test_record_whose_directory_cannot_be_entered_is_left_out(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    write_durably(volume.spec(OTHER), SPEC)
    volume.job(JOB).touch()
    assert rebuilder.rebuild_if_lost()
    assert store.left_out() == [JOB]
    assert store.state(RecordKind.JOB, OTHER) is State.QUEUED


@pytest.mark.parametrize("name", ["datasets", "jobs", "aliases", "models"])
def test_records_do_not_stand_while_a_directory_cannot_be_listed(
    store: Store, rebuilder: Rebuilder, volume: Volume, name: str
) -> None:
    shutil.rmtree(volume.root / name)
    (volume.root / name).touch()
    with pytest.raises(OSError, match=name):
        rebuilder.rebuild_if_lost()
    assert not store.has_epoch()


def test_what_was_left_out_still_is_after_the_volume_was_away(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    write_durably(volume.spec(JOB), b"{")
    write_durably(volume.alias("live"), b"{")
    volume.imported(DIGEST).symlink_to(volume.imported(DIGEST))
    assert rebuilder.rebuild_if_lost()
    away = volume.root.rename(volume.root.with_name("away"))
    volume.root.mkdir()
    rebuilder.restore_left_out()
    assert store.left_out() == [JOB, "live", DIGEST]
    volume.root.rmdir()
    away.rename(volume.root)
    write_durably(volume.spec(JOB), SPEC)
    rebuilder.restore_left_out()
    assert store.state(RecordKind.JOB, JOB) is State.QUEUED
