"""A Redis with older records than the volume, as after a time on another server, counts as an emptied one."""

import json

import pytest
import redis

from contract import keys, rebuilding
from contract import store as records
from contract.durable import write_json
from contract.job import State, Want
from contract.keys import RecordKind
from contract.rebuilding import read_epoch
from contract.volume import Volume
from service.embedded_redis import RedisServer
from tests.conftest import own_database
from worker.facts import Facts, write_facts
from worker.rebuild import rebuild_if_lost
from worker.store import Store

JOB = RecordKind.JOB
ENDED, CANCELLED, DELETED, NEW = (f"job_000000000000000{letter}" for letter in "abcd")
OTHER_DATABASE = 11


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


@pytest.fixture
def here(redis_url: str) -> Store:
    return Store(redis_url)


@pytest.fixture
def elsewhere(redis_server: RedisServer) -> Store:
    return Store(own_database(redis_server, OTHER_DATABASE))


def lay(volume: Volume, job: str) -> None:
    volume.job(job).mkdir(parents=True)
    volume.spec(job).write_text(json.dumps({"dataset": "ds_0123456789abcdef"}))


def rebuild(store: Store, volume: Volume) -> bool:
    return rebuild_if_lost(store, volume, "w0", lease_seconds=60)


@pytest.fixture
def returned(here: Store, elsewhere: Store, volume: Volume) -> Volume:
    """A volume with jobs that were queued, then went on elsewhere."""
    for job in (ENDED, CANCELLED, DELETED):
        lay(volume, job)
    assert rebuild(here, volume)
    assert rebuild(elsewhere, volume)
    write_facts(volume, ENDED, Facts(state=State.SUCCEEDED, token=7, attempt=1, created_us=5))
    write_json(volume.intent(CANCELLED), {"want": Want.CANCEL})
    volume.tombstones.mkdir()
    volume.tombstone(DELETED).touch()
    lay(volume, NEW)
    return volume


def test_records_are_rebuilt_after_they_went_on_elsewhere(
    here: Store, returned: Volume, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set("of another program", "kept")
    assert rebuild(here, returned)
    states = {job: here.state(JOB, job) for job in (ENDED, CANCELLED, DELETED, NEW)}
    assert states == {
        ENDED: State.SUCCEEDED,
        CANCELLED: State.CANCELLED,
        DELETED: None,
        NEW: State.QUEUED,
    }
    claim = here.run(records.claim(JOB, "w0", lease_seconds=60))
    assert claim
    assert claim.id == NEW
    assert client.get("of another program") == "kept"
    assert "older than the volume: rebuilt 3 records" in caplog.text


def test_records_that_went_on_here_are_left_alone(here: Store, elsewhere: Store, returned: Volume) -> None:
    assert rebuild(elsewhere, returned)
    assert elsewhere.state(JOB, ENDED) is State.QUEUED
    assert rebuild(here, returned)
    assert here.run(records.control(JOB, NEW, Want.CANCEL))[0] == "accepted"
    assert rebuild(here, returned)
    assert here.state(JOB, NEW) is State.CANCELLED


def test_two_servers_in_use_do_not_remove_each_others_records_for_ever(
    here: Store, elsewhere: Store, returned: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert rebuild(here, returned)
        assert rebuild(elsewhere, returned)
    assert caplog.text.count("older than the volume") == 2
    assert caplog.text.count("if two are in use, stop the workers of the wrong one") == 1
    assert elsewhere.is_outdated(read_epoch(returned)) is not here.is_outdated(read_epoch(returned))


def test_worker_that_noticed_too_late_removes_nothing(here: Store, returned: Volume) -> None:
    before = read_epoch(returned)
    assert here.is_outdated(before)
    assert rebuild(here, returned)
    late = here.lock_rebuild("late", 60)
    assert late
    assert late.run(rebuilding.begin_rebuild(before, "epoch of the late one")) == "stands"
    assert here.state(JOB, NEW) is State.QUEUED
    assert here.lock_rebuild("w0", 60)


def test_records_are_rebuilt_though_the_volume_takes_no_epoch(here: Store, volume: Volume) -> None:
    lay(volume, NEW)
    volume.epoch.mkdir()
    assert rebuild(here, volume)
    assert here.state(JOB, NEW) is State.QUEUED


def test_rebuild_that_ended_half_way_is_done_again(
    here: Store, elsewhere: Store, returned: Volume, client: redis.Redis
) -> None:
    """Until then, the other server is outdated already, too."""
    away = returned.jobs.rename(returned.root / "away")
    returned.jobs.symlink_to(returned.jobs)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        rebuild(here, returned)
    returned.jobs.unlink()
    away.rename(returned.jobs)
    assert not here.is_rebuilt()
    assert elsewhere.is_outdated(read_epoch(returned))
    client.delete(keys.REBUILDING)  # as when it expires
    assert rebuild(here, returned)
    assert here.state(JOB, ENDED) is State.SUCCEEDED
