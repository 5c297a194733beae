"""Cancelling, pausing and resuming while Redis fails: the volume soon states what Redis has recorded."""

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from contract.command import Command
from contract.control import control
from contract.durable import write_json
from contract.job import Intent, Progress, State, Want
from contract.keys import JOB_KEYS, RecordKind
from contract.owning import beat
from service import steering
from service.gateway import Gateway
from service.settings import Settings
from service.steering import steer
from service.store import Standing, Store
from tests.service.deployment import Deployment
from tests.service.problems import refused
from tests.service.waiting import until
from worker.facts import Facts, write_facts
from worker.mirror import Mirror
from worker.store import Store as WorkersStore


@pytest.fixture
def there(elsewhere: Callable[..., Deployment]) -> Deployment:
    return elsewhere()


def _queued(there: Deployment) -> str:
    return str(there.client.post("/jobs", json={"dataset": there.dataset}).json()["id"])


def _state(there: Deployment, job_id: str) -> str:
    return str(there.client.get(f"/jobs/{job_id}").json()["state"])


def _stated(there: Deployment, job_id: str) -> str | None:
    path = there.worker.volume.intent(job_id)
    return json.loads(path.read_bytes())["want"] if path.exists() else None


@pytest.mark.parametrize(
    ("before", "action", "want", "state"),
    [
        (None, "cancel", "cancel", "cancelled"),
        (None, "pause", "pause", "paused"),
        ("pause", "resume", "run", "queued"),
    ],
)
def test_steering_whose_reply_was_lost_survives_an_emptied_redis(
    there: Deployment,
    cut: Callable[[str, bool], None],
    before: str | None,
    action: str,
    want: str,
    state: str,
) -> None:
    job_id, worker = _queued(there), there.worker
    if before:
        there.client.post(f"/jobs/{job_id}/{before}").raise_for_status()
    Mirror(WorkersStore(worker.url), worker.volume).copy_events(RecordKind.JOB)  # the next event is lost
    cut("control", True)
    refused(there.client.post(f"/jobs/{job_id}/{action}"), 503, "store_unavailable")
    assert _state(there, job_id) == state
    until(lambda: _stated(there, job_id) == want)
    worker.redis.flushdb()
    assert worker.rebuilder.rebuild_if_lost()
    assert _state(there, job_id) == state


@pytest.mark.parametrize(("action", "want"), [("cancel", Want.CANCEL), ("pause", Want.PAUSE)])
def test_answered_intent_is_newer_than_a_claim_that_came_before_it(
    there: Deployment, monkeypatch: pytest.MonkeyPatch, action: str, want: Want
) -> None:
    """A worker took the job, and that is on the volume, while its intent was written there."""
    job_id, worker, exchange = _queued(there), there.worker, steering._exchange

    def claim_before(path: Path, intent: Intent) -> bytes | None:
        before = exchange(path, intent)
        facts = Facts(state=State.RUNNING, token=int(worker.claim().token), attempt=1, created_us=5)
        assert write_facts(worker.volume, job_id, facts)
        Mirror(WorkersStore(worker.url), worker.volume).copy_events(RecordKind.JOB)
        return before

    monkeypatch.setattr(steering, "_exchange", claim_before)
    there.client.post(f"/jobs/{job_id}/{action}").raise_for_status()
    worker.redis.flushdb()  # before the next mirroring
    assert worker.rebuilder.rebuild_if_lost()
    assert worker.redis.hget(JOB_KEYS.record_of + job_id, "want") == want


def test_intent_is_written_once_more_at_most_while_the_job_reports_its_progress(
    there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, find = _queued(there), Store.find
    lease, progress = there.worker.claim(), Progress(done=1, total=2)
    written: list[object] = []

    async def report_before(store: Store, kind: RecordKind, record_id: str) -> Standing | None:
        there.worker.run(beat(lease, progress))
        there.worker.run(beat(lease, progress))
        return await find(store, kind, record_id)

    def note(path: Path, content: object) -> None:
        written.append(content)
        write_json(path, content)

    monkeypatch.setattr(Store, "find", report_before)
    monkeypatch.setattr("service.steering.write_json", note)
    there.client.post(f"/jobs/{job_id}/pause").raise_for_status()
    assert len(written) == 2


def test_intent_of_another_gateway_is_restored_even_if_redis_fails_after_a_refusal(
    there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had cancelled the job between our look at the volume and our refused intent."""
    job_id, run, agree = _queued(there), Store.run, steering._agree

    async def cancel_first(store: Store, command: Command[Any]) -> Any:
        if command.arguments[1] == "control":
            there.worker.run(control(RecordKind.JOB, job_id, Want.CANCEL))
        return await run(store, command)

    async def fail(gateway: Gateway, job_id: str, *, is_new: bool) -> bool:
        monkeypatch.setattr(steering, "_agree", agree)
        raise RedisError

    monkeypatch.setattr(Store, "run", cancel_first)
    monkeypatch.setattr(steering, "_agree", fail)
    refused(there.client.post(f"/jobs/{job_id}/pause"), 503, "store_unavailable")
    until(lambda: _stated(there, job_id) == "cancel")


@pytest.mark.parametrize(
    ("is_ended", "status", "code"), [(False, 503, "store_unavailable"), (True, 409, "job_state_conflict")]
)
def test_refused_intent_is_reverted_later_if_the_volume_does_not_take_that_now(
    there: Deployment,
    cut: Callable[[str, bool], None],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    *,
    is_ended: bool,
) -> None:
    job_id, put_back = there.end() if is_ended else _queued(there), steering._put_back

    def fail(path: Path, before: bytes | None) -> None:
        monkeypatch.setattr(steering, "_put_back", put_back)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(steering, "_put_back", fail)
    if not is_ended:
        cut("control", False)
    refused(there.client.post(f"/jobs/{job_id}/pause"), status, code)
    until(lambda: _stated(there, job_id) == ("cancel" if is_ended else "run"))


def test_intent_follows_redis_after_the_request_was_cancelled(
    there: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, run = _queued(there), Store.run

    async def run_and_cancel(store: Store, command: Command[Any]) -> Any:
        answer = await run(store, command)
        if command.arguments[1] == "control":
            raise asyncio.CancelledError
        return answer

    async def cancel() -> None:
        gateway = Gateway(Settings(data_root=there.worker.volume.root, redis_url=there.worker.url))
        async with gateway.running():
            with pytest.raises(asyncio.CancelledError):
                await steer(gateway, job_id, Want.CANCEL)
            await asyncio.gather(*gateway.background.tasks)

    monkeypatch.setattr(Store, "run", run_and_cancel)
    asyncio.run(cancel())
    assert _stated(there, job_id) == "cancel"
