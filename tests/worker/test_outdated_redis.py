"""A Redis with older records than the volume, as after a time on another server, counts as an emptied one."""

import json

import pytest
import redis

from contract import keys, owning, rebuilding
from contract.control import control
from contract.durable import write_json
from contract.job import State, Want
from contract.keys import RecordKind
from contract.rebuilding import read_epoch
from contract.volume import Volume
from service.embedded_redis import RedisServer
from tests.conftest import own_database
from worker.facts import Facts, write_facts
from worker.rebuild import Rebuilder
from worker.store import Store

JOB = RecordKind.JOB
ENDED, CANCELLED, DELETED, NEW = (f"job_000000000000000{letter}" for letter in "abcd")
OTHER_DATABASE = 11


@pytest.fixture
def other_store(redis_server: RedisServer) -> Store:
    return Store(own_database(redis_server, OTHER_DATABASE))


@pytest.fixture
def elsewhere(other_store: Store, volume: Volume) -> Rebuilder:
    return Rebuilder(other_store, volume, "w0", lease_seconds=60)


def lay(volume: Volume, job: str) -> None:
    volume.job(job).mkdir(parents=True)
    volume.spec(job).write_text(json.dumps({"dataset": "ds_0123456789abcdef"}))


@pytest.fixture
def returned(rebuilder: Rebuilder, elsewhere: Rebuilder, volume: Volume) -> Volume:
    """A volume with jobs that were queued, then went on elsewhere."""
    for job in (ENDED, CANCELLED, DELETED):
        lay(volume, job)
    assert rebuilder.rebuild_if_lost()
    assert elsewhere.rebuild_if_lost()
    write_facts(volume, ENDED, Facts(state=State.SUCCEEDED, token=7, attempt=1, created_us=5))
    write_json(volume.intent(CANCELLED), {"want": Want.CANCEL})
    volume.tombstone(DELETED).touch()
    lay(volume, NEW)
    return volume


@pytest.mark.usefixtures("returned")
def test_records_are_rebuilt_after_they_went_on_elsewhere(
    store: Store, rebuilder: Rebuilder, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set("of another program", "kept")
    assert rebuilder.rebuild_if_lost()
    states = {job: store.state(JOB, job) for job in (ENDED, CANCELLED, DELETED, NEW)}
    assert states == {
        ENDED: State.SUCCEEDED,
        CANCELLED: State.CANCELLED,
        DELETED: None,
        NEW: State.QUEUED,
    }
    claim = store.run(owning.claim(JOB, "w0", lease_seconds=60))
    assert claim
    assert claim.id == NEW
    assert client.get("of another program") == "kept"
    assert "older than the volume: rebuilt 3 records" in caplog.text


@pytest.mark.usefixtures("returned")
def test_records_that_went_on_here_are_left_alone(
    store: Store, other_store: Store, rebuilder: Rebuilder, elsewhere: Rebuilder
) -> None:
    assert elsewhere.rebuild_if_lost()
    assert other_store.state(JOB, ENDED) is State.QUEUED
    assert rebuilder.rebuild_if_lost()
    assert store.run(control(JOB, NEW, Want.CANCEL))[0] == "accepted"
    assert rebuilder.rebuild_if_lost()
    assert store.state(JOB, NEW) is State.CANCELLED


def test_two_servers_in_use_do_not_remove_each_others_records_for_ever(
    store: Store,
    other_store: Store,
    rebuilder: Rebuilder,
    elsewhere: Rebuilder,
    returned: Volume,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for _ in range(3):
        assert rebuilder.rebuild_if_lost()
        assert elsewhere.rebuild_if_lost()
    assert caplog.text.count("older than the volume") == 2
    assert caplog.text.count("if two are in use, stop the workers of the wrong one") == 1
    assert other_store.is_outdated(read_epoch(returned)) is not store.is_outdated(read_epoch(returned))


def test_worker_that_noticed_too_late_removes_nothing(
    store: Store, rebuilder: Rebuilder, returned: Volume
) -> None:
    before = read_epoch(returned)
    assert store.is_outdated(before)
    assert rebuilder.rebuild_if_lost()
    late = store.lock_rebuild("late", 60)
    assert late
    assert late.run(rebuilding.begin_rebuild(before, "epoch of the late one")) == "stands"
    assert store.state(JOB, NEW) is State.QUEUED
    assert store.lock_rebuild("w0", 60)


def test_records_are_rebuilt_though_the_volume_takes_no_epoch(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    lay(volume, NEW)
    volume.epoch.mkdir()
    assert rebuilder.rebuild_if_lost()
    assert store.state(JOB, NEW) is State.QUEUED


def test_rebuild_that_ended_half_way_is_done_again(
    store: Store, other_store: Store, rebuilder: Rebuilder, returned: Volume, client: redis.Redis
) -> None:
    """Until then, the other server is outdated already, too."""
    away = returned.jobs.rename(returned.root / "away")
    returned.jobs.symlink_to(returned.jobs)
    with pytest.raises(OSError, match="jobs"):
        rebuilder.rebuild_if_lost()
    returned.jobs.unlink()
    away.rename(returned.jobs)
    assert not store.has_epoch()
    assert other_store.is_outdated(read_epoch(returned))
    client.delete(keys.REBUILDING)  # as when it expires
    assert rebuilder.rebuild_if_lost()
    assert store.state(JOB, ENDED) is State.SUCCEEDED
