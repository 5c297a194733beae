"""Jobs that ended long ago are deleted if so configured, and no others."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from contract.job import State
from contract.owning import leave
from contract.volume import Volume
from service import deletion, retention
from service.gateway import Gateway
from service.settings import Settings
from tests.service.deployment import DAY, KEY, Deployment
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.receiver import SECRET, Receiver
from tests.service.serving import client_of
from tests.service.waiting import until


@pytest.fixture
def tidy(
    redis_url: str, worker: Worker, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    """A gateway that keeps jobs for a second after their end."""
    monkeypatch.setattr("service.retention.ROUND_SECONDS", 0.05)
    settings = Settings(
        data_root=data_root, redis_url=redis_url, keep_jobs_days=1 / DAY, webhook_allow_private=True
    )
    with client_of(settings) as client:
        yield client


def _ended(client: httpx.Client, worker: Worker, dataset: str, state: State) -> str:
    job_id: str = client.post("/jobs", json={"dataset": dataset}).json()["id"]
    lease = worker.claim()
    worker.checkpoint(lease)
    worker.run(leave(lease, state))
    return job_id


def test_jobs_that_ended_long_ago_are_deleted_except_latest_and_aliased_ones(
    tidy: httpx.Client, worker: Worker, dataset: str, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    buried, bury = [], deletion._bury  # a gateway killed after it must not lose a named job

    async def note(gateway: Gateway, record_id: str) -> None:
        buried.append(record_id)
        await bury(gateway, record_id)

    monkeypatch.setattr(deletion, "_bury", note)
    named = _ended(tidy, worker, dataset, State.SUCCEEDED)
    tidy.put("/models/best", json={"job": named}).raise_for_status()
    expired = _ended(tidy, worker, dataset, State.SUCCEEDED)
    latest = _ended(tidy, worker, dataset, State.SUCCEEDED)
    failed = _ended(tidy, worker, dataset, State.FAILED)
    until(lambda: tidy.get(f"/jobs/{failed}").status_code == 410)
    younger = _ended(tidy, worker, dataset, State.FAILED)
    queued = tidy.post("/jobs", json={"dataset": dataset}).json()["id"]
    until(lambda: tidy.get(f"/jobs/{younger}").status_code == 410)  # so two rounds have spared `latest`
    assert {job["id"] for job in tidy.get("/jobs").json()["items"]} == {named, latest, queued}
    assert not {named, latest} & {*buried}
    for gone in (failed, expired):
        refused(tidy.get(f"/jobs/{gone}"), 410, "record_deleted")
        assert not volume.job(gone).exists()


@pytest.mark.usefixtures("hurried")
def test_job_is_not_deleted_before_its_webhook_was_delivered(
    tidy: httpx.Client, dataset: str, receiver: Receiver
) -> None:
    receiver.answers = [500] * 1000
    told, plain = (
        tidy.post("/jobs", json={"dataset": dataset, **more}).json()["id"]
        for more in ({"webhook": receiver.webhook}, {})
    )
    for job_id in (told, plain):
        tidy.post(f"/jobs/{job_id}/cancel").raise_for_status()
    until(lambda: tidy.get(f"/jobs/{plain}").status_code == 410)
    assert tidy.get(f"/jobs/{told}").json()["webhook"]["delivery"] == "pending"
    receiver.answers = []
    until(lambda: tidy.get(f"/jobs/{told}").status_code == 410)


@pytest.mark.usefixtures("hurried")
def test_job_is_not_deleted_before_the_deployments_webhook_was_delivered(
    elsewhere: Callable[..., Deployment], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.retention.ROUND_SECONDS", 0.05)
    receiver.answers = [500] * 1000
    there = elsewhere(keep_jobs_days=1 / DAY, webhook_url=receiver.url, webhook_secret=SECRET)
    settled, pending = (
        there.client.post("/jobs", json={"dataset": there.dataset}).json()["id"] for _ in range(2)
    )
    for job_id in (pending, settled):
        there.client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    there.worker.redis.zrem(KEY.deliveries, f"{settled}:global")
    until(lambda: there.client.get(f"/jobs/{settled}").status_code == 410)
    assert there.client.get(f"/jobs/{pending}").status_code == 200  # the same round has spared it
    receiver.answers = []
    until(lambda: there.client.get(f"/jobs/{pending}").status_code == 410)


def test_nothing_is_deleted_by_default(here: Deployment) -> None:
    job_id = here.end(State.FAILED)
    here.age(job_id, 400 * DAY)
    gateway = Gateway(Settings(data_root=here.worker.volume.root, redis_url=here.worker.url))
    asyncio.run(asyncio.wait_for(retention.run(gateway), 60))
    assert here.client.get(f"/jobs/{job_id}").json()["state"] == "failed"
