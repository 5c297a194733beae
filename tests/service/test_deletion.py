"""Deletions that were left half done: a gateway was killed, or something still wrote to the directory."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

import contract.durable
from contract.forgetting import forget_job
from contract.job import CheckpointFact
from contract.volume import Volume
from service import deletion
from service.gateway import Gateway
from service.settings import Settings
from tests.service.deployment import Deployment
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.serving import client_of
from tests.service.waiting import until


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
    monkeypatch.setattr("service.deletion.ROUND_SECONDS", 0.05)


@pytest.fixture
def restarted(redis_url: str, volume: Volume) -> Callable[[], AbstractContextManager[httpx.Client]]:
    """Starts another gateway on the same records and the same volume."""
    return lambda: client_of(Settings(data_root=volume.root, redis_url=redis_url))


def _bury(volume: Volume, record_id: str, age_seconds: float = 3600) -> None:
    tombstone = volume.pending_tombstone(record_id)
    tombstone.touch()
    _age(tombstone, age_seconds)


def _age(path: Path, seconds: float) -> None:
    past = path.stat().st_mtime - seconds
    os.utime(path, (past, past))


def test_deletion_interrupted_before_the_record_was_gone_is_undone(
    new_job: Callable[[], str], restarted: Callable[[], AbstractContextManager[httpx.Client]], volume: Volume
) -> None:
    job_id = new_job()
    _bury(volume, job_id)
    with restarted() as other:
        until(lambda: not volume.pending_tombstone(job_id).exists())
        assert other.get(f"/jobs/{job_id}").json()["state"] == "queued"
    assert volume.spec(job_id).exists()


def test_deletion_interrupted_after_the_record_was_gone_is_completed(
    client: httpx.Client,
    new_job: Callable[[], str],
    worker: Worker,
    restarted: Callable[[], AbstractContextManager[httpx.Client]],
    volume: Volume,
) -> None:
    job_id = new_job()
    client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    assert worker.run(forget_job(job_id))[0] == "forgotten"
    _bury(volume, job_id)  # not before, as the other gateway would undo it
    with restarted() as other:
        until(lambda: not volume.home(job_id).exists())
        assert other.get(f"/jobs/{job_id}").status_code == 410


@pytest.mark.parametrize("is_emptied", [False, True])
@pytest.mark.parametrize("last", ["buried", "forgotten", "tombstone final", "partly removed"])
def test_deletion_whose_gateway_dies_is_completed_unless_redis_had_not_forgotten_or_was_emptied_too_soon(
    elsewhere: Callable[..., Deployment],
    cut: Callable[[str, bool], None],
    monkeypatch: pytest.MonkeyPatch,
    last: str,
    *,
    is_emptied: bool,
) -> None:
    there = elsewhere()
    worker, volume, job_id = there.worker, there.worker.volume, there.end()

    async def never(*_: object) -> bool:
        return False

    def die(volume: Volume, record_id: str) -> None:
        if last == "partly removed":
            volume.intent(record_id).unlink()  # it looks queued now
        raise OSError(errno.EIO, "the gateway dies")

    with monkeypatch.context() as dead:
        dead.setattr(deletion, "_settle", never)
        dead.setattr(deletion, "discard", die)
        if last in ("buried", "forgotten"):
            cut("forget", last == "forgotten")
        assert there.client.delete(f"/jobs/{job_id}").status_code == 503
        there.stop()
    for tombstone in volume.tombstones.iterdir():
        _age(tombstone, 3600)
    if is_emptied:
        worker.redis.flushdb()
        assert worker.rebuilder.rebuild_if_lost()
    stays = last == "buried" or (last == "forgotten" and is_emptied)
    with client_of(Settings(data_root=volume.root, redis_url=worker.url)) as other:
        until(lambda: not volume.pending_tombstone(job_id).exists() and volume.home(job_id).exists() == stays)
        worker.rebuilder.restore_left_out()
        assert other.get(f"/jobs/{job_id}").status_code == (200 if stays else 410)


def test_record_with_a_pending_tombstone_that_redis_has_forgotten_is_not_reported_as_missing(
    client: httpx.Client, new_job: Callable[[], str], worker: Worker, volume: Volume
) -> None:
    job_id = new_job()
    client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    _bury(volume, job_id, age_seconds=0)
    assert client.get(f"/jobs/{job_id}").status_code == 200
    assert worker.run(forget_job(job_id))[0] == "forgotten"
    problem = refused(client.get(f"/jobs/{job_id}"), 503, "store_unavailable")
    assert "is being deleted" in problem["detail"]


def test_deletion_makes_room_first_where_the_tombstone_finds_none(
    client: httpx.Client, new_job: Callable[[], str], volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, publish = new_job(), contract.durable.publish_durably
    client.post(f"/jobs/{job_id}/cancel").raise_for_status()

    def publish_if_there_is_room(temporary: Path, path: Path) -> None:
        if volume.home(job_id).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        publish(temporary, path)

    monkeypatch.setattr(deletion, "publish_durably", publish_if_there_is_room)
    client.delete(f"/jobs/{job_id}").raise_for_status()
    assert volume.tombstone(job_id).exists()
    assert not volume.home(job_id).exists()


def test_deletion_that_another_gateway_takes_for_refused_leaves_a_tombstone_all_the_same(
    client: httpx.Client, new_job: Callable[[], str], volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, bury = new_job(), deletion._bury
    client.post(f"/jobs/{job_id}/cancel").raise_for_status()

    async def bury_in_vain(gateway: Gateway, record_id: str) -> None:
        await bury(gateway, record_id)
        volume.pending_tombstone(record_id).unlink()

    monkeypatch.setattr(deletion, "_bury", bury_in_vain)
    client.delete(f"/jobs/{job_id}").raise_for_status()
    refused(client.get(f"/jobs/{job_id}"), 410, "record_deleted")


def test_tombstone_that_an_earlier_version_raised_before_redis_forgot_is_removed(
    new_job: Callable[[], str], restarted: Callable[[], AbstractContextManager[httpx.Client]], volume: Volume
) -> None:
    job_id = new_job()
    tombstone = volume.tombstone(job_id)
    tombstone.touch()
    _age(tombstone, 3600)
    with restarted() as other:
        until(lambda: not tombstone.exists())
        assert other.get(f"/jobs/{job_id}").json()["state"] == "queued"


def test_deletion_that_was_interrupted_before_redis_was_emptied_is_undone(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere()
    client, worker = there.client, there.worker
    job_id = there.end()
    worker.redis.flushdb()
    _bury(worker.volume, job_id, age_seconds=0)
    assert worker.rebuilder.rebuild_if_lost()
    for answer in (client.get(f"/jobs/{job_id}"), client.delete(f"/jobs/{job_id}")):
        assert "was interrupted" in refused(answer, 503, "store_unavailable")["detail"]
    _age(worker.volume.pending_tombstone(job_id), 3600)
    until(lambda: not worker.volume.pending_tombstone(job_id).exists())
    worker.rebuilder.restore_left_out()
    assert client.get(f"/jobs/{job_id}").json()["state"] == "cancelled"


def test_directory_that_returns_after_the_deletion_is_removed_while_the_gateway_runs(
    new_job: Callable[[], str], restarted: Callable[[], AbstractContextManager[httpx.Client]], volume: Volume
) -> None:
    job_id = new_job()
    with restarted() as other:
        other.post(f"/jobs/{job_id}/cancel").raise_for_status()
        other.delete(f"/jobs/{job_id}").raise_for_status()
        volume.snapshots(job_id).mkdir(parents=True)
        _age(volume.tombstone(job_id), 3600)
        until(lambda: not volume.home(job_id).exists())
        assert other.get(f"/jobs/{job_id}").status_code == 410


def test_deletion_that_may_be_in_progress_elsewhere_is_left_alone_until_it_is_old(
    new_job: Callable[[], str], restarted: Callable[[], AbstractContextManager[httpx.Client]], volume: Volume
) -> None:
    old, young = new_job(), new_job()
    _bury(volume, old)
    _bury(volume, young, age_seconds=0)
    with restarted():
        until(lambda: not volume.pending_tombstone(old).exists())
        assert volume.pending_tombstone(young).exists()
        _age(volume.pending_tombstone(young), 3600)
        until(lambda: not volume.pending_tombstone(young).exists())


def test_tombstone_removed_first_by_another_gateway_does_not_stop_the_recovery(
    new_job: Callable[[], str],
    restarted: Callable[[], AbstractContextManager[httpx.Client]],
    volume: Volume,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = new_job()
    _bury(volume, job_id)
    find_half_done = deletion._half_done

    def find_one_that_goes(volume: Volume) -> tuple[list[str], list[str]]:
        monkeypatch.setattr(deletion, "_half_done", find_half_done)
        raise FileNotFoundError

    monkeypatch.setattr(deletion, "_half_done", find_one_that_goes)
    with restarted():
        until(lambda: not volume.pending_tombstone(job_id).exists())


def test_tombstone_of_a_refused_deletion_is_removed_durably(
    client: httpx.Client, finished: CheckpointFact, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.put("/models/live", json={"digest": finished.digest}).raise_for_status()
    job_id = client.get("/models/live").json()["job"]
    lasting: list[bool] = []
    sync_directory = contract.durable.sync_directory

    def watch(path: Path) -> None:
        sync_directory(path)
        if path == volume.tombstones:
            lasting.append(volume.pending_tombstone(job_id).exists())

    monkeypatch.setattr(contract.durable, "sync_directory", watch)
    assert client.delete(f"/jobs/{job_id}").status_code == 409
    assert lasting[:2] == [True, False]
