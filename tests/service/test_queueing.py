"""Submissions that a gateway left on the volume without queueing them are removed by the next gateway."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.exceptions import RedisError

from contract.command import Command
from contract.durable import write_durably
from contract.errors import ServiceError
from contract.identifiers import kind_of, new_dataset_id, new_job_id
from contract.job import State
from contract.keys import EPOCH, LEFT_OUT, RecordKind, Role
from contract.submitting import submit
from contract.volume import Volume
from service import queueing
from service.gateway import Gateway
from service.settings import Settings
from service.store import Store
from tests.service.playing import Worker
from tests.service.serving import serve
from tests.service.waiting import until
from worker.store import Store as WorkersStore

Restart = Callable[[], AbstractContextManager[str]]
SPEC = b'{"dataset": "ds_0000000000000000"}'
LAST = "job_zzzzzzzzzzzzzzzz"


@pytest.fixture(autouse=True)
def _short_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
    monkeypatch.setattr("service.queueing._IN_HAND_SECONDS", 0.05)


@pytest.fixture
def there(redis_url: str, tmp_path: Path) -> Worker:
    """The workers of a deployment without a gateway."""
    there = Worker(redis_url.removesuffix("/0") + "/1", Volume(tmp_path / "data"))
    there.redis.set(EPOCH, "1")
    there.hello(*Role)
    return there


@pytest.fixture
def settings(there: Worker) -> Settings:
    return Settings(data_root=there.volume.root, redis_url=there.url)


@pytest.fixture
def restarted(settings: Settings) -> Restart:
    """Starts the next gateway."""
    return lambda: serve(settings)


def _leave(volume: Volume, record_id: str, *names: str) -> Path:
    """Leave these files of a submission on the volume."""
    home = volume.home(record_id)
    home.mkdir(parents=True)
    for name in names:
        write_durably(home / name, SPEC)
    return home


@pytest.mark.parametrize(
    ("new_id", "names"),
    [
        (new_job_id, ()),
        (new_job_id, ("submission.json", ".spec.json.0a1b2c3d.tmp")),
        (new_job_id, ("submission.json", "spec.json")),
        (new_dataset_id, ("original/upload.zip",)),
        (new_dataset_id, ("original/upload.zip", "spec.json")),
    ],
)
def test_submission_that_was_never_queued_is_removed_and_can_be_queued_no_more(
    there: Worker, restarted: Restart, new_id: Callable[[], str], names: tuple[str, ...]
) -> None:
    record_id = new_id()
    home = _leave(there.volume, record_id, *names)
    with restarted():
        until(lambda: not home.exists())
    assert there.run(submit(kind_of(record_id), record_id, "{}")) == ("withdrawn", "")


def test_upload_refused_while_redis_was_away_is_removed_after_a_restart(
    there: Worker, restarted: Restart, pictures: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Store.run

    async def run_others(store: Store, command: Command[Any]) -> Any:
        if command.arguments[1] in ("submit", "withdraw"):
            raise RedisError("away")
        return await run(store, command)

    before = set(there.volume.datasets.glob("ds_*"))
    with monkeypatch.context() as away:
        away.setattr(Store, "run", run_others)
        with restarted() as url:
            assert httpx.post(f"{url}/datasets", content=pictures, timeout=60).status_code == 503
    assert set(there.volume.datasets.glob("ds_*")) > before
    with restarted():
        until(lambda: set(there.volume.datasets.glob("ds_*")) == before)


def test_cancelled_submission_is_removed_after_its_last_write_whatever_other_calls_hang(
    there: Worker, settings: Settings
) -> None:
    job_id, begun, may_end, others_may_end = (
        new_job_id(),
        threading.Barrier(3),
        threading.Event(),
        threading.Event(),
    )

    def write_slowly() -> None:
        begun.wait()
        may_end.wait()
        _leave(there.volume, job_id, "submission.json", "spec.json")

    def hang() -> None:
        begun.wait()
        others_may_end.wait()

    async def submit_slowly(gateway: Gateway) -> None:
        async with queueing.new_home(gateway, job_id):
            await gateway.on_volume(write_slowly)

    async def cancel() -> None:
        gateway = Gateway(settings)
        left = [asyncio.create_task(work) for work in (submit_slowly(gateway), gateway.on_volume(hang))]
        await asyncio.to_thread(begun.wait)
        for task in left:
            task.cancel()
        await asyncio.wait(left)
        (giving_up,) = gateway.background.tasks
        await asyncio.wait([giving_up], timeout=0.2)
        may_end.set()
        async with asyncio.timeout(60):
            await giving_up

    try:
        asyncio.run(cancel())
    finally:
        may_end.set()
        others_may_end.set()
    assert not there.volume.home(job_id).exists()
    assert there.run(submit(RecordKind.JOB, job_id, "{}")) == ("withdrawn", "")


@pytest.mark.parametrize("sign", ["queued", "events.jsonl", "facts-7.json", "intent.json", "checkpoints/a"])
def test_home_with_a_sign_that_it_was_queued_is_kept(there: Worker, restarted: Restart, sign: str) -> None:
    marked = _leave(there.volume, new_job_id(), "submission.json", "spec.json", sign)
    last = _leave(there.volume, LAST, "spec.json")
    with restarted():
        until(lambda: not last.exists())
    assert marked.exists()


def test_directories_that_are_no_records_are_kept(there: Worker, restarted: Restart) -> None:
    others = [_leave(there.volume, name, "spec.json") for name in ("job_old", "job_0000000000000000.bak")]
    file = there.volume.jobs / "job_0000000000000000"
    file.touch()
    last = _leave(there.volume, LAST, "spec.json")
    with restarted():
        until(lambda: not last.exists())
    assert all(other.exists() for other in (*others, file))


def test_queued_record_is_kept_whose_gateway_was_killed_before_it_was_marked(
    there: Worker, restarted: Restart
) -> None:
    job_id = new_job_id()
    home = _leave(there.volume, job_id, "spec.json")
    there.run(submit(RecordKind.JOB, job_id, SPEC.decode()))
    last = _leave(there.volume, LAST, "spec.json")
    with restarted():
        until(lambda: not last.exists())
    assert home.exists()


def test_unmarked_home_is_kept_until_the_records_are_rebuilt_and_then_belongs_to_one(
    there: Worker, settings: Settings
) -> None:
    """It may have been queued before Redis was emptied, by a gateway that could not mark it."""
    job_id = new_job_id()
    home = _leave(there.volume, job_id, "spec.json")

    async def settle_around_a_rebuild() -> None:
        gateway = Gateway(settings)
        there.redis.flushdb()
        assert not await queueing._settle_abandoned(gateway, home)
        assert await asyncio.to_thread(there.rebuilder.rebuild_if_lost)
        assert await queueing._settle_abandoned(gateway, home)

    asyncio.run(settle_around_a_rebuild())
    assert home.exists()
    assert WorkersStore(there.url).state(RecordKind.JOB, job_id) is State.QUEUED


def test_unmarked_home_is_kept_while_its_record_is_left_out(there: Worker, restarted: Restart) -> None:
    job_id = "job_0000000000000001"
    home = _leave(there.volume, job_id, "spec.json")
    there.redis.sadd(LEFT_OUT, job_id)
    last = _leave(there.volume, LAST, "spec.json")
    with restarted():
        until(lambda: not last.exists())
        assert home.exists()
        there.redis.srem(LEFT_OUT, job_id)
        until(lambda: not home.exists())


def test_submission_in_progress_at_another_gateway_is_watched_before_it_is_withdrawn(
    there: Worker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, sleep = _leave(there.volume, LAST, "spec.json"), asyncio.sleep

    async def mark_meanwhile(seconds: float) -> None:
        if seconds == queueing._IN_HAND_SECONDS:
            (home / "queued").touch()
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", mark_meanwhile)
    asyncio.run(queueing.settle(Gateway(settings)))
    assert home.exists()


def test_directory_that_cannot_be_listed_is_tried_again(
    there: Worker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, sleep = _leave(there.volume, LAST, "spec.json"), asyncio.sleep
    jobs = there.volume.jobs
    aside = jobs.rename(jobs.with_name("aside"))
    jobs.touch()

    async def repair_meanwhile(_: float) -> None:
        if jobs.is_file():
            jobs.unlink()
            aside.rename(jobs)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", repair_meanwhile)
    asyncio.run(queueing.settle(Gateway(settings)))
    assert jobs.is_dir()
    assert not home.exists()


def test_submission_that_is_cancelled_is_withdrawn_and_removed(there: Worker, settings: Settings) -> None:
    job_id = new_job_id()
    home, command = _leave(there.volume, job_id, "spec.json"), submit(RecordKind.JOB, job_id, "{}")

    async def cancel_a_submission() -> None:
        gateway = Gateway(settings)
        submitting = asyncio.create_task(queueing.submit(gateway, job_id, command))
        await asyncio.sleep(0)
        submitting.cancel()
        await asyncio.wait([submitting])
        await asyncio.gather(*gateway.background.tasks)

    asyncio.run(cancel_a_submission())
    assert not home.exists()
    assert there.run(command) == ("withdrawn", "")


def test_submission_that_was_withdrawn_while_it_was_written_is_refused_and_removed(
    there: Worker, settings: Settings
) -> None:
    job_id = new_job_id()
    home = _leave(there.volume, job_id, "spec.json")

    async def submit_too_late() -> None:
        gateway = Gateway(settings)
        await queueing._settle_abandoned(gateway, home)
        _leave(there.volume, job_id, "spec.json")
        with pytest.raises(ServiceError, match="another gateway has withdrawn it"):
            await queueing.submit(gateway, job_id, submit(RecordKind.JOB, job_id, "{}"))

    asyncio.run(submit_too_late())
    assert not home.exists()
