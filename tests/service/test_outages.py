"""Redis goes away and comes back: refusals say so, nothing stays half-done, and everything recovers."""

import asyncio
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis as SyncRedis
from redis.exceptions import RedisError

from contract.control import control
from contract.durable import write_durably
from contract.forgetting import forget_job
from contract.identifiers import new_job_id
from contract.job import State, Want
from contract.keys import EPOCH, SAMPLES_WAITING, RecordKind, Role
from contract.owning import leave
from contract.submitting import submit
from contract.volume import Volume
from service import deletion, queueing
from service.embedded_redis import RedisServer, durable_server
from service.gateway import Gateway
from service.load import FEWEST
from service.settings import Settings
from tests.conftest import is_up_within
from tests.service.deployment import Deployment
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.serving import client_of
from tests.service.waiting import until

LINE = 16
"""The number of images that may wait for samplers."""


class Redis:
    """A Redis server that tests can kill and start again."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.server.command, cwd=self.server.directory)
        assert is_up_within(60, self.server)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(durable_server(tmp_path / "redis"))
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def settings(mortal: Redis, tmp_path: Path) -> Settings:
    Volume(tmp_path / "data").lay_out()
    return Settings(
        data_root=tmp_path / "data",
        redis_url=mortal.server.url,
        heartbeat_seconds=0.2,
        sample_timeout_seconds=20,
        sample_queue_limit=LINE,
    )


@pytest.fixture
def outage(settings: Settings, worker: Worker) -> Iterator[tuple[httpx.Client, Worker]]:
    """A gateway and a worker on the mortal Redis."""
    there = Worker(settings.redis_url, Volume(settings.data_root))
    there.redis.set(EPOCH, "1")
    there.hello(*Role)
    with client_of(settings) as client:
        yield client, there


def train(client: httpx.Client, worker: Worker, pictures: bytes) -> str:
    """Post a dataset and a job; return the job's id."""
    client.post("/datasets", content=pictures)
    return str(client.post("/jobs", json={"dataset": worker.prepare()}).json()["id"])


def test_everything_is_503_and_nothing_is_created_while_redis_is_away(
    outage: tuple[httpx.Client, Worker], mortal: Redis, pictures: bytes
) -> None:
    client, worker = outage
    job_id = train(client, worker, pictures)
    dataset = client.get(f"/jobs/{job_id}").json()["dataset"]
    before = set(worker.volume.root.rglob("*"))
    mortal.kill()
    asked = [
        client.post("/datasets", content=pictures),
        client.post("/jobs", json={"dataset": dataset}),
        client.get("/jobs"),
        client.get(f"/jobs/{job_id}"),
        client.post(f"/jobs/{job_id}/cancel"),
        client.get("/samples?seed=1"),
        client.get("/models"),
    ]
    for answer in asked:
        assert refused(answer, 503, "store_unavailable")["retryable"]
        assert int(answer.headers["retry-after"]) >= 1
    assert set(worker.volume.root.rglob("*")) == before
    assert client.get("/livez").status_code == 200
    mortal.start()
    until(lambda: client.get("/readyz").status_code == 200)
    assert client.get(f"/jobs/{job_id}").json()["state"] == "queued"
    assert client.post("/datasets", content=pictures).status_code == 202


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the Redis timeout and shortens the retry interval of gateways started after this."""
    monkeypatch.setattr("service.redis_client._PATIENCE_SECONDS", 3.0)
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.1)


@pytest.mark.usefixtures("impatient")
def test_hanging_redis_delays_a_refusal_by_seconds_and_nothing_else(
    outage: tuple[httpx.Client, Worker], mortal: Redis
) -> None:
    client, _ = outage
    assert mortal.process
    mortal.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(client.get, "/jobs")
        assert client.get("/livez").status_code == 200
        assert not answer.done()
        refused(answer.result(), 503, "store_unavailable")
    mortal.process.send_signal(signal.SIGCONT)
    until(lambda: client.get("/jobs").status_code == 200)


def test_a_stream_survives_a_restart_of_redis_without_loss(
    outage: tuple[httpx.Client, Worker], mortal: Redis, pictures: bytes
) -> None:
    client, worker = outage
    job_id = train(client, worker, pictures)
    lease = worker.claim()
    with client.stream("GET", f"/jobs/{job_id}/events", headers={"accept": "text/event-stream"}) as answer:
        lines = answer.iter_lines()
        ids = (line for line in lines if line.startswith("id:"))
        assert [next(ids) for _ in range(2)] == ["id: 1", "id: 2"]
        mortal.kill()
        assert next(line for line in lines if line.startswith(":")) == ": heartbeat"
        mortal.start()
        worker.run(leave(lease, State.SUCCEEDED))
        assert list(ids) == ["id: 3"]


def test_sampling_recovers_after_a_restart_of_redis(
    outage: tuple[httpx.Client, Worker], mortal: Redis, pictures: bytes, sampler: Sampler
) -> None:
    client, worker = outage
    train(client, worker, pictures)
    lease = worker.claim()
    worker.checkpoint(lease)
    worker.run(leave(lease, State.SUCCEEDED))
    mortal.kill()
    assert client.get("/samples?seed=1").status_code == 503
    mortal.start()
    consumer = Sampler(mortal.server.url)
    consumer.start()
    until(lambda: client.get("/samples?seed=1").status_code == 200)
    consumer.stop()


def test_unreachable_sampling_redis_is_named(elsewhere: Callable[..., Deployment]) -> None:
    there = elsewhere(sampling_redis_url="redis://127.0.0.1:9/0")
    there.end(State.SUCCEEDED)
    problem = refused(there.client.get("/samples?seed=1"), 503, "store_unavailable")
    assert problem["detail"].startswith("The sampling Redis")
    assert there.client.get("/jobs").status_code == 200


@pytest.mark.parametrize("others", [(), (b"of another gateway",)])
def test_lost_requests_are_pushed_again(
    outage: tuple[httpx.Client, Worker],
    mortal: Redis,
    pictures: bytes,
    sampler: Sampler,
    monkeypatch: pytest.MonkeyPatch,
    others: tuple[bytes, ...],
) -> None:
    monkeypatch.setattr("service.line._PATIENCE_SECONDS", 0.1)
    client, worker = outage
    train(client, worker, pictures)
    lease = worker.claim()
    worker.checkpoint(lease)
    worker.run(leave(lease, State.SUCCEEDED))
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(client.get("/samples?seed=1")))
    thread.start()
    until(lambda: worker.redis.lpop(SAMPLES_WAITING))  # as if a sampler took it and was killed
    for frame in others:
        worker.redis.rpush(SAMPLES_WAITING, frame)
    until(lambda: worker.redis.llen(SAMPLES_WAITING) > len(others))
    for _ in others:
        worker.redis.lpop(SAMPLES_WAITING)
    consumer = Sampler(mortal.server.url)
    consumer.start()
    thread.join(60)
    assert [answer.status_code for answer in answers] == [200]
    consumer.stop()


def test_a_full_line_refuses_while_redis_hangs(
    outage: tuple[httpx.Client, Worker],
    mortal: Redis,
    pictures: bytes,
    sampler: Sampler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, worker = outage
    train(client, worker, pictures)
    lease = worker.claim()
    worker.checkpoint(lease)
    worker.run(leave(lease, State.SUCCEEDED))
    consumer = Sampler(mortal.server.url)
    consumer.start()
    kept = client.get(client.get("/samples?seed=7").headers["content-location"])
    consumer.stop()
    monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 0.0)
    assert mortal.process
    with ThreadPoolExecutor(FEWEST) as threads:
        waiting = [threads.submit(client.get, f"/samples?seed={seed}&count={LINE}") for seed in range(FEWEST)]
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == FEWEST)
        mortal.process.send_signal(signal.SIGSTOP)
        ping = threading.Thread(target=worker.redis.ping, daemon=True)
        ping.start()
        answer, still_kept = client.get("/samples?seed=2"), client.get(kept.url)
        assert ping.is_alive(), "it answered before Redis could"
        mortal.process.send_signal(signal.SIGCONT)
        refused(answer, 503, "sampler_busy")
        assert (still_kept.status_code, still_kept.content) == (200, kept.content)
        assert int(answer.headers["retry-after"]) >= 1
        consumer = Sampler(mortal.server.url)
        consumer.start()
        assert {one.result().status_code for one in waiting} == {200}
        consumer.stop()


def test_job_whose_dataset_vanished_is_removed_from_the_volume(settings: Settings) -> None:
    async def submit_to_nothing() -> tuple[object, bool]:
        gateway, job_id = Gateway(settings), new_job_id()
        write_durably(gateway.volume.spec(job_id), b"{}")
        command = submit(RecordKind.JOB, job_id, "{}", dataset="ds_0000000000000000")
        outcome = await queueing.submit(gateway, job_id, command)
        return outcome[0], gateway.volume.job(job_id).exists()

    assert asyncio.run(submit_to_nothing()) == ("unusable", False)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("taken", [False, True])
def test_submission_without_a_reply_is_withdrawn_unless_redis_has_queued_it(
    settings: Settings, mortal: Redis, *, taken: bool
) -> None:
    async def submit_to_the_dead() -> tuple[bool, str]:
        gateway, job_id = Gateway(settings), new_job_id()
        command = submit(RecordKind.JOB, job_id, "{}")
        write_durably(gateway.volume.spec(job_id), b"{}")
        if taken:  # as if only the reply was lost
            await gateway.store.run(command)
        mortal.kill()
        async with gateway.running():
            with pytest.raises(RedisError):
                await queueing.submit(gateway, job_id, command)
            assert gateway.volume.job(job_id).exists()
            await asyncio.to_thread(mortal.start)
            await asyncio.gather(*gateway.background.tasks)
            return gateway.volume.job(job_id).exists(), (await gateway.store.run(command))[0]

    assert asyncio.run(submit_to_the_dead()) == ((True, "exists") if taken else (False, "withdrawn"))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fate", ["kept", "forgotten", "emptied"])
def test_volume_follows_the_record_after_an_interrupted_deletion(
    settings: Settings, mortal: Redis, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury = deletion._bury

    async def delete_from_the_dead() -> tuple[bool, bool]:
        gateway, job_id = Gateway(settings), new_job_id()
        volume, store = gateway.volume, gateway.store
        there = SyncRedis.from_url(settings.redis_url, socket_timeout=60)
        there.set(EPOCH, "1")
        write_durably(volume.spec(job_id), b"{}")
        await store.run(submit(RecordKind.JOB, job_id, "{}"))
        await store.run(control(RecordKind.JOB, job_id, Want.CANCEL))

        async def bury_before_redis_dies(*given: Any) -> None:
            await bury(*given)
            if fate == "forgotten":  # as if only the reply was lost
                await store.run(forget_job(job_id))
            if fate == "emptied":
                there.flushall()
            mortal.kill()

        monkeypatch.setattr(deletion, "_bury", bury_before_redis_dies)
        async with gateway.running():
            with pytest.raises(RedisError):
                await deletion.delete(gateway, job_id, forget_job(job_id))
            assert volume.job(job_id).exists()
            await asyncio.to_thread(mortal.start)
            await asyncio.gather(*gateway.background.tasks)
        assert not volume.pending_tombstone(job_id).exists()
        return volume.job(job_id).exists(), volume.tombstone(job_id).exists()

    stays = fate != "forgotten"
    assert asyncio.run(delete_from_the_dead()) == (stays, not stays)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("before", [None, "pause"])
def test_intent_that_redis_did_not_receive_is_reverted(
    outage: tuple[httpx.Client, Worker], pictures: bytes, before: str | None
) -> None:
    client, worker = outage
    job_id = train(client, worker, pictures)
    if before:
        client.post(f"/jobs/{job_id}/{before}").raise_for_status()
    intent = worker.volume.intent(job_id)
    content = intent.read_bytes() if intent.exists() else None
    worker.redis.client_pause(60_000, all=False)  # it still answers reads
    refused(client.post(f"/jobs/{job_id}/cancel"), 503, "store_unavailable")
    worker.redis.client_unpause()
    assert (intent.read_bytes() if intent.exists() else None) == content
    assert client.get(f"/jobs/{job_id}").json()["state"] == ("paused" if before else "queued")
