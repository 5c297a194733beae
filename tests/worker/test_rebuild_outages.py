"""What a rebuild cannot list or enter is not taken for missing."""

import pytest

from contract.durable import write_durably
from contract.job import State
from contract.keys import RecordKind
from contract.volume import Volume
from worker.rebuild import rebuild_if_lost
from worker.store import Store

JOB, OTHER = "job_0000000000000001", "job_0000000000000002"
SPEC = b'{"dataset": "ds_0123456789abcdef"}'


@pytest.fixture
def store(redis_url: str) -> Store:
    return Store(redis_url)


def rebuild(store: Store, volume: Volume) -> None:
    assert rebuild_if_lost(store, volume, "w0", lease_seconds=60)


def test_record_whose_directory_cannot_be_entered_is_left_out(store: Store, volume: Volume) -> None:
    write_durably(volume.spec(OTHER), SPEC)
    volume.job(JOB).touch()
    rebuild(store, volume)
    assert store.left_out() == [JOB]
    assert store.state(RecordKind.JOB, OTHER) is State.QUEUED


@pytest.mark.parametrize("name", ["datasets", "jobs", "aliases", "models"])
def test_records_do_not_stand_while_a_directory_cannot_be_listed(
    store: Store, volume: Volume, name: str
) -> None:
    volume.root.mkdir()
    (volume.root / name).touch()
    with pytest.raises(NotADirectoryError):
        rebuild(store, volume)
    assert not store.is_rebuilt()
