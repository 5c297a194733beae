"""The order of an owner's actions: samplers load a better generator before anyone learns of it."""

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from contract.durable import write_json
from contract.job import CheckpointFact, Record, State
from contract.keys import EPOCH, KEYS, Role
from contract.submitting import submit
from contract.volume import Volume
from tests.worker.asking import SPEC
from tests.worker.children import warm_server
from tests.worker.owner import JOB, LEASE_SECONDS, Worker
from tests.worker.small_work import checkpoint
from worker.account import Account
from worker.child import Child
from worker.child_group import ChildGroup
from worker.facts import Facts, read_facts, write_facts
from worker.link import Published
from worker.orders import TrainingOrder
from worker.ownership import Ownership
from worker.process import WorkerProcess
from worker.roles import duty
from worker.settings import Settings
from worker.store import Store
from worker.warming import Warming

FIRST, SECOND = "job_0000000000000001", "job_0000000000000002"


@dataclass(frozen=True)
class Loading:
    """A load requested of the samplers, and what Redis contained about the job then."""

    best: int
    is_latest: bool
    told: int | None
    state: State


@pytest.fixture
def loadings(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> list[Loading]:
    """Every load, recorded while it is requested."""
    seen: list[Loading] = []

    def load(warming: Warming, job_id: str, best: CheckpointFact, *, is_latest: bool) -> None:
        record = worker.records.read(job_id)
        told = record.checkpoint.images_seen if record.checkpoint else None
        seen.append(Loading(best.images_seen, is_latest, told, record.state))

    monkeypatch.setattr(Warming, "load", load)
    return seen


def test_new_best_is_loaded_before_redis_learns_of_it_and_of_success(
    worker: Worker, loadings: list[Loading]
) -> None:
    worker.submit(FIRST)
    worker.start("publish_and_finish")
    worker.finish()
    assert loadings == [
        Loading(best=1, is_latest=False, told=None, state=State.RUNNING),
        Loading(best=3, is_latest=False, told=1, state=State.RUNNING),
        Loading(best=3, is_latest=True, told=3, state=State.RUNNING),
    ]
    assert worker.records.read(FIRST).state is State.SUCCEEDED


def test_best_that_a_dead_owner_wrote_but_did_not_report_is_loaded_first(
    worker: Worker, loadings: list[Loading], volume: Volume
) -> None:
    worker.submit(FIRST)
    stated = (checkpoint(1, 8.0), checkpoint(2, 9.0))
    write_facts(
        volume, FIRST, Facts(state=State.RUNNING, token=0, attempt=1, created_us=1, checkpoints=stated)
    )
    worker.start("finish")
    worker.finish()
    assert loadings[0] == Loading(best=1, is_latest=False, told=None, state=State.RUNNING)


@pytest.mark.parametrize("is_loaded_in_the_end", [False, True])
def test_running_job_goes_on_to_name_the_best_that_samplers_load_and_in_the_end_its_best(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, is_loaded_in_the_end: bool
) -> None:
    named: list[int | None] = []

    def load(warming: Warming, job_id: str, best: CheckpointFact, *, is_latest: bool) -> str | None:
        record = worker.records.read(job_id)
        named.append(record.checkpoint.images_seen if record.checkpoint else None)
        is_refused = best.images_seen == 3 and not (is_latest and is_loaded_in_the_end)
        return "The file is damaged." if is_refused else None

    monkeypatch.setattr(Warming, "load", load)
    worker.submit(FIRST)
    worker.start("publish_and_finish")
    worker.finish()
    assert named == [None, 1, 1]
    record = worker.records.read(FIRST)
    assert record.checkpoint is not None
    assert record.checkpoint.images_seen == 3
    assert worker.warnings(FIRST) == ["best_not_loaded"] * (1 if is_loaded_in_the_end else 2)


def test_lease_is_renewed_before_each_load(
    worker: Worker, volume: Volume, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may take a whole heartbeat interval, and a child may have sent several messages."""
    until_ms: list[int] = []

    def load(warming: Warming, job_id: str, best: CheckpointFact, *, is_latest: bool) -> None:
        until_ms.append(worker.records.read(job_id).lease_until_ms or 0)
        worker.rest_for_a_heartbeat()

    monkeypatch.setattr(Warming, "load", load)
    worker.submit(FIRST)
    lease = worker.records.claim(seconds=LEASE_SECONDS)
    idle = ChildGroup([Child.start(warm_server())])
    settings = Settings(data_root=volume.root, redis_url=redis_url, lease_seconds=LEASE_SECONDS)
    ownership = Ownership(
        lease,
        worker.records.read(FIRST),
        idle,
        WorkerProcess.create("w0", settings),
        Warming(Store(redis_url), redis_url, patience_seconds=0),
    )
    worker.rest_for_a_heartbeat()
    for images_seen in (1, 2, 3):
        ownership._hear(Published(checkpoint=checkpoint(images_seen, distance=9.0 - images_seen)))
    idle.end()
    assert len(until_ms) == 3
    assert until_ms == sorted(set(until_ms))


def test_job_that_was_not_rebuilt_ends_on_the_volume_and_does_not_block_the_next(worker: Worker) -> None:
    def lose(record: Record, _: Facts) -> tuple[str, str]:
        """Empty Redis, as if the rebuild could not read a file of this job."""
        if record.id == FIRST:
            worker.records.redis.flushdb()
            worker.records.redis.set(EPOCH, "1")
            worker.submit(SECOND)
        return "tests.worker.small_work:finish", ""

    worker.submit(FIRST)
    worker.start("finish", lose, lease_seconds=0.1)
    worker.finish()
    stated = read_facts(worker.volume, FIRST)
    assert stated is not None
    assert stated.state is State.SUCCEEDED
    assert worker.records.read(SECOND).state is State.SUCCEEDED


def test_job_that_was_deleted_is_dropped_and_its_directory_not_recreated(worker: Worker) -> None:
    def delete(record: Record, _: Facts) -> tuple[str, str]:
        """Delete the job, as others may once its owner has been cut off for a lease."""
        if record.id == SECOND:
            return "tests.worker.small_work:finish", ""
        worker.records.redis.delete(KEYS[JOB].record_of + FIRST)
        write_json(worker.volume.tombstone(FIRST), {})
        shutil.rmtree(worker.volume.job(FIRST))
        return "tests.worker.small_work:write", str(worker.volume.snapshot(FIRST, "file"))

    worker.submit(FIRST, SECOND)
    worker.start("write", delete, lease_seconds=60)
    worker.finish()
    assert not worker.volume.job(FIRST).exists()
    assert worker.records.read(SECOND).state is State.SUCCEEDED


def test_job_that_is_done_is_left_so_although_a_directory_of_its_files_cannot_be_looked_into(
    worker: Worker,
) -> None:
    def spoil(*_: object) -> tuple[str, str]:
        """Let whatever looks into the directory of checkpoints get an error."""
        worker.volume.checkpoints(FIRST).symlink_to("x" * 300)
        with pytest.raises(OSError, match="File name too long"):
            worker.volume.checkpoints(FIRST).is_dir()
        return "tests.worker.small_work:publish_and_finish", ""

    worker.submit(FIRST)
    worker.start("publish_and_finish", spoil)
    worker.finish()
    done = worker.records.read(FIRST)
    assert (done.state, done.attempt) == (State.SUCCEEDED, 1)


def test_volume_that_fails_between_the_claim_and_the_order_costs_no_attempt(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_over, look = Account.take_over, Volume.all_facts
    refusals: list[OSError] = []

    def take_over_before_it_fails(account: Account) -> None:
        take_over(account)
        refusals.append(OSError(errno.EIO, os.strerror(errno.EIO)))

    def look_unless_it_fails(volume: Volume, record_id: str) -> list[Path]:
        if refusals:
            raise refusals.pop()
        return look(volume, record_id)

    def write_order(record: Record, facts: Facts) -> tuple[str, str]:
        order = TrainingOrder.for_record(record, facts, Settings(data_root=worker.volume.root))
        return "tests.worker.small_work:finish", order.model_dump_json()

    monkeypatch.setattr(Account, "take_over", take_over_before_it_fails)
    monkeypatch.setattr(Volume, "all_facts", look_unless_it_fails)
    worker.volume.job(FIRST).mkdir(parents=True)
    worker.records.run(submit(JOB, FIRST, SPEC.model_dump_json()))
    worker.start("finish", write_order)
    worker.finish()
    done = worker.records.read(FIRST)
    assert (done.state, done.attempt, refusals) == (State.SUCCEEDED, 1, [])


def test_supervisor_is_stopped_whatever_ends_its_worker(volume: Volume, redis_url: str) -> None:
    """Celery reports some of the signals that end it, but not others."""
    process = WorkerProcess.create("prepare-1", Settings(data_root=volume.root, redis_url=redis_url))
    duty(Role.PREPARE, process).stop()
    assert process.stop.is_set()


def test_nothing_is_claimed_while_the_volume_is_away(worker: Worker) -> None:
    worker.submit(FIRST)
    away = worker.volume.jobs.rename(worker.volume.root / "away")
    worker.watch.look()
    worker.start("finish")
    worker.finish()
    waiting = worker.records.read(FIRST)
    assert (waiting.state, waiting.attempt) == (State.QUEUED, 0)
    away.rename(worker.volume.jobs)
    worker.watch.look()
    worker.ring()
    worker.finish()
    assert worker.records.read(FIRST).state is State.SUCCEEDED


def test_death_of_a_mapped_file_that_cannot_be_read_says_so(worker: Worker) -> None:
    worker.submit(FIRST)
    lost = str(worker.volume.job(FIRST) / "mapped")
    worker.start("", lambda *_: ("tests.worker.small_work:lose_a_mapped_page", lost), max_deaths=1)
    worker.finish()
    error = worker.records.read(FIRST).error
    assert error
    assert "could not be read (SIGBUS)" in error.detail
