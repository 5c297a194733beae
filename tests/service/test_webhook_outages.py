"""Webhooks are delivered despite hanging receivers, killed gateways and an emptied Redis."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from contract.control import control
from contract.durable import replace_durably
from contract.job import Want
from contract.keys import RecordKind
from contract.webhook import DeliveryOutcome, Endpoint, Notification, read_told
from service.ports import free_port
from service.settings import Settings
from tests.service.deployment import DAY, KEY, Deployment
from tests.service.hanging import hangs
from tests.service.playing import Worker
from tests.service.receiver import SECRET, Receiver, receiving
from tests.service.serving import serve
from tests.service.waiting import until

ROOT = Path(__file__).parents[2]

Elsewhere = Callable[..., Deployment]


def test_slow_receiver_does_not_delay_others(here: Deployment, receiver: Receiver) -> None:
    receiver.open.clear()
    with receiving() as quick:
        for _ in range(6):
            here.end(webhook=receiver.webhook)
        until(lambda: len(receiver.calls) == 4)
        here.end(webhook=quick.webhook)
        until(lambda: quick.calls)
        assert here.client.get("/livez").is_success
        assert len(receiver.calls) == 4
        receiver.open.set()
        until(lambda: len(receiver.calls) == 6)


def test_two_gateways_deliver_each_message_once(
    here: Deployment, receiver: Receiver, redis_url: str, data_root: Path
) -> None:
    other = Settings(data_root=data_root, redis_url=redis_url, webhook_allow_private=True)
    with serve(other):
        jobs = [here.end(webhook=receiver.webhook) for _ in range(12)]
        until(lambda: all(here.webhook(job)["delivery"] == "delivered" for job in jobs))
    assert sorted(receiver.ids) == sorted(f"{job}-cancelled-own" for job in jobs)


def test_gateway_can_stop_while_a_receiver_hangs(elsewhere: Elsewhere, receiver: Receiver) -> None:
    receiver.open.clear()
    there = elsewhere()
    there.end(webhook=receiver.webhook)
    until(lambda: receiver.calls)
    there.stop()
    assert there.worker.redis.zcard(KEY.deliveries) == 1  # it will be retried


@contextmanager
def _process(worker: Worker) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    environment = {
        "PYTHONPATH": str(ROOT),
        "DCGAN_REDIS_URL": worker.url,
        "DCGAN_DATA_ROOT": str(worker.volume.root),
        "DCGAN_WEBHOOK_ALLOW_PRIVATE": "true",
    }
    command = [sys.executable, "-P", "-m", "service", "--port", str(port)]
    process = subprocess.Popen(command, cwd=worker.volume.root, env=environment)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _lives(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").is_success
    except httpx.TransportError:
        return False


def test_delivery_of_a_killed_gateway_is_retried_by_the_next_as_the_same_message(
    elsewhere: Elsewhere, receiver: Receiver
) -> None:
    there = elsewhere()
    there.stop()
    receiver.open.clear()
    with _process(there.worker) as (process, url), httpx.Client(base_url=url, timeout=60) as client:
        until(lambda: _lives(client))
        job_id = Deployment(client, there.worker, there.dataset).end(webhook=receiver.webhook)
        until(lambda: receiver.calls)
        process.kill()
        process.wait()
    receiver.open.set()
    next_one = elsewhere()
    assert next_one.webhook(job_id)["delivery"] == "pending"
    next_one.age(job_id, 60)  # its lease has expired
    until(lambda: next_one.webhook(job_id)["delivery"] == "delivered")
    assert receiver.ids == [f"{job_id}-cancelled-own"] * 2


@pytest.mark.usefixtures("unhurried")
def test_delivery_recorded_on_the_volume_is_not_repeated(here: Deployment, receiver: Receiver) -> None:
    """As if a gateway was killed after it recorded the delivery, and before it told Redis."""
    receiver.answers = [500]
    job_id = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(job_id)["problem"])
    told = Notification(outcome=DeliveryOutcome.DELIVERED, at_ms=5)
    replace_durably(here.worker.volume.told(job_id, Endpoint.OWN), told.model_dump_json().encode())
    here.age(job_id, 60)
    until(lambda: here.webhook(job_id)["delivery"] == "delivered")
    assert len(receiver.calls) == 1


def test_delivery_that_hangs_on_the_volume_is_attempted_once_at_a_time(
    elsewhere: Elsewhere, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.webhooks._POLL_SECONDS", 0.05)
    monkeypatch.setattr("service.webhooks._LEASE_SECONDS", 0.2)
    looks, leases = list[Path](), set[float | None]()

    def look(path: Path) -> Notification | None:
        looks.append(path)
        return read_told(path)

    def has_been_leased_often() -> bool:
        leases.add(redis.zscore(KEY.deliveries, f"{first}:own"))
        return len(leases) > 5

    monkeypatch.setattr("service.webhooks.read_told", look)
    there = elsewhere()
    volume, redis = there.worker.volume, there.worker.redis
    first, second = (
        there.client.post("/jobs", json={"dataset": there.dataset, "webhook": receiver.webhook}).json()["id"]
        for _ in range(2)
    )
    told = volume.told(first, Endpoint.OWN)
    with hangs(told):
        there.client.post(f"/jobs/{first}/cancel").raise_for_status()
        until(has_been_leased_often)
        there.client.post(f"/jobs/{second}/cancel").raise_for_status()
        until(lambda: there.webhook(second)["delivery"] == "delivered")
        assert looks.count(told) == 1
    until(lambda: there.webhook(first)["delivery"] == "delivered")


@pytest.mark.usefixtures("hurried")
def test_emptied_redis_neither_loses_nor_repeats_a_delivery(elsewhere: Elsewhere, receiver: Receiver) -> None:
    there = elsewhere()

    def empty_and_rebuild() -> None:
        there.worker.redis.flushdb()
        assert there.worker.rebuilder.rebuild_if_lost()

    told = there.end(webhook=receiver.webhook)
    until(lambda: there.webhook(told)["delivery"] == "delivered")
    receiver.answers = [500] * 10_000
    untold = there.end(webhook=receiver.webhook)
    until(lambda: there.webhook(untold)["problem"])
    empty_and_rebuild()
    assert there.webhook(told)["delivery"] == "delivered"
    receiver.answers = []
    until(lambda: there.webhook(untold)["delivery"] == "delivered")
    assert set(receiver.ids) == {f"{told}-cancelled-own", f"{untold}-cancelled-own"}
    assert receiver.ids.count(f"{told}-cancelled-own") == 1


@pytest.mark.usefixtures("unhurried")
def test_job_that_ended_over_a_day_ago_is_told_once_more_after_redis_was_emptied(
    elsewhere: Elsewhere, receiver: Receiver
) -> None:
    there = elsewhere()
    receiver.answers = [500] * 2
    job_id = there.end(webhook=receiver.webhook)
    until(lambda: there.webhook(job_id)["problem"])
    intent = there.worker.volume.intent(job_id)
    os.utime(intent, (time.time() - DAY - 60,) * 2)
    there.worker.redis.flushdb()
    assert there.worker.rebuilder.rebuild_if_lost()
    until(lambda: there.webhook(job_id)["delivery"] == "given_up")
    assert len(receiver.calls) == 2
    assert there.worker.redis.zcard(KEY.deliveries) == 0


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("lost", ["damaged", "not there"])
def test_unreadable_submission_delays_only_its_own_delivery(
    here: Deployment, receiver: Receiver, caplog: pytest.LogCaptureFixture, lost: str
) -> None:
    receiver.answers = [500] * 10_000
    broken = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(broken)["problem"])
    kept = here.worker.volume.submission(broken)
    content = kept.read_bytes()
    if lost == "damaged":
        kept.write_bytes(content[:-5])
    else:
        kept.unlink()
    until(lambda: "cannot be read from the volume" in here.webhook(broken)["problem"])
    receiver.answers = []
    sound = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(sound)["delivery"] == "delivered")
    kept.write_bytes(content)
    until(lambda: here.webhook(broken)["delivery"] == "delivered")
    assert SECRET not in caplog.text
    assert "token-in" not in caplog.text


@pytest.mark.parametrize("field", ["spec", "evaluation"])
def test_delivery_of_a_job_of_another_version_is_left_to_gateways_that_can_read_it(
    elsewhere: Elsewhere,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    field: str,
) -> None:
    monkeypatch.setattr("service.webhooks._POLL_SECONDS", 0.05)
    monkeypatch.setattr("service.webhooks._LEASE_SECONDS", 0.2)
    there = elsewhere()
    asked = {"dataset": there.dataset, "webhook": receiver.webhook}
    job_id = there.client.post("/jobs", json=asked).json()["id"]
    redis, record = there.worker.redis, KEY.record_of + job_id
    spec = there.worker.volume.spec(job_id).read_text()
    redis.hset(record, field, '{"of the next version": 1}')
    there.worker.run(control(RecordKind.JOB, job_id, Want.CANCEL))
    until(lambda: caplog.text.count(f"{job_id}: told again when its lease has run out") > 2)
    assert "another version" in caplog.text
    assert redis.hget(record, "told") is None
    assert not receiver.calls
    redis.hset(record, "spec", spec)
    redis.hdel(record, "evaluation")
    until(lambda: there.webhook(job_id)["delivery"] == "delivered")


def test_delivery_that_no_gateway_can_read_is_given_up_after_a_day(
    elsewhere: Elsewhere, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.webhooks._POLL_SECONDS", 0.05)
    monkeypatch.setattr("service.webhooks.TOLD_FOR_SECONDS", 0)
    monkeypatch.setattr("service.webhooks.SCHEDULE_SECONDS", ())
    there = elsewhere()
    asked = {"dataset": there.dataset, "webhook": receiver.webhook}
    job_id = there.client.post("/jobs", json=asked).json()["id"]
    redis, record = there.worker.redis, KEY.record_of + job_id
    spec = there.worker.volume.spec(job_id).read_text()
    redis.hset(record, "spec", '{"of the next version": 1}')
    there.worker.run(control(RecordKind.JOB, job_id, Want.CANCEL))
    until(lambda: redis.hget(record, "told"))
    redis.hset(record, "spec", spec)
    told = there.webhook(job_id)
    assert told["delivery"] == "given_up"
    assert "another version" in told["problem"]
    assert not receiver.calls
