"""Clients that disconnect: samplers do not render for them, and all other clients are answered."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from contract.errors import ErrorCode, ServiceError
from contract.job import CheckpointFact, State
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING, SAMPLES_WAITING_FOR, SAMPLES_WITHDRAWN_OF
from contract.sampling import CheckpointPlace, SampleSpec
from contract.wire import Answer, Ask
from service.line import Waiting
from service.mailbox import Mailbox
from service.pictures import Picture, Pictures
from tests.service.deployment import Deployment
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.waiting import until

Asking = Callable[[str], Any]


@contextmanager
def _asking(url: str, path: str) -> Iterator[socket.socket]:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        yield connection


@pytest.fixture
def asking(gateway_url: str) -> Asking:
    """Sends a request, and disconnects at the end of the block."""
    return partial(_asking, gateway_url)


def test_request_is_withdrawn_when_its_client_disconnects(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact, asking: Asking
) -> None:
    sampler.hold()
    with asking("/samples?seed=1"), asking("/samples?seed=2"):
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == 2)
    until(lambda: not worker.redis.llen(SAMPLES_WAITING))
    sampler.held.clear()
    assert client.get("/samples?seed=3").status_code == 200
    assert [ask.spec.seed for ask in sampler.asks] == [3]
    assert not worker.redis.keys(SAMPLES_WITHDRAWN_OF + "*")  # that is only for what was taken


def test_client_that_half_closes_its_connection_counts_as_disconnected(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact, asking: Asking
) -> None:
    sampler.hold()
    with asking("/samples?seed=1") as connection:
        until(lambda: worker.redis.llen(SAMPLES_WAITING))
        connection.shutdown(socket.SHUT_WR)  # the gateway cannot tell this from close()
        until(lambda: not worker.redis.llen(SAMPLES_WAITING))
        assert not connection.recv(1)


def test_client_that_sends_too_much_instead_of_waiting_is_told_so(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact
) -> None:
    sampler.hold()
    zeros = bytes(100_000)

    def body() -> Iterator[bytes]:
        yield zeros
        until(lambda: worker.redis.llen(SAMPLES_WAITING))
        for _ in range(100):
            yield zeros

    answer = client.request("GET", "/samples?seed=1", content=body())
    assert refused(answer, 413, "body_too_large")
    until(lambda: not worker.redis.llen(SAMPLES_WAITING))


@pytest.mark.parametrize("failing", ["_remove", "_notify_samplers"])
def test_exception_while_pushing_does_not_affect_later_requests(
    failing: str,
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    asking: Asking,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broke = threading.Event()

    async def fail(*_: object) -> None:
        broke.set()
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Mailbox, failing, fail)
    sampler.hold()
    with asking("/samples?seed=1"):
        until(lambda: worker.redis.llen(SAMPLES_WAITING))
        if failing == "_notify_samplers":
            worker.redis.delete(SAMPLES_WAITING)  # as if it was taken
    assert broke.wait(60)
    sampler.held.clear()
    assert client.get("/samples?seed=2").status_code == 200


def test_request_stays_while_another_client_waits_for_the_same_picture(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact, asking: Asking
) -> None:
    sampler.hold()
    with ThreadPoolExecutor(1) as threads:
        with asking("/samples?seed=1"):
            until(lambda: worker.redis.llen(SAMPLES_WAITING))
            stays = threads.submit(client.get, "/samples?seed=1")
            with asking("/samples?seed=2"):
                until(lambda: worker.redis.llen(SAMPLES_WAITING) == 2)
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == 1)
        sampler.held.clear()
        assert stays.result().status_code == 200
    assert [ask.spec.seed for ask in sampler.asks] == [1]


def test_client_that_arrives_after_the_last_one_left_is_answered(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact, asking: Asking
) -> None:
    sampler.hold()
    with asking("/samples?seed=1"):
        until(lambda: worker.redis.llen(SAMPLES_WAITING))
    until(lambda: not worker.redis.llen(SAMPLES_WAITING))
    sampler.held.clear()
    assert client.get("/samples?seed=1").status_code == 200


def test_disconnected_clients_make_room_in_the_line(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact, asking: Asking
) -> None:
    sampler.hold()
    with ExitStack() as asked:
        for seed in range(4):
            asked.enter_context(asking(f"/samples?seed={seed}"))
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == 4)
        assert client.get("/samples?seed=9").json()["code"] == "sampler_busy"
    until(lambda: not worker.redis.llen(SAMPLES_WAITING))
    sampler.held.clear()
    assert client.get("/samples?seed=9").status_code == 200


def test_promotion_gives_up_on_a_sampler_that_does_not_answer_and_its_request_expires(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.warming.LIVES_SECONDS", 60)
    sampler.hold()
    assert client.put("/models/mine", json={"digest": finished.digest}).status_code == 201
    waiting = SAMPLES_WAITING_FOR + "sample-1"
    until(lambda: 0 < worker.redis.ttl(waiting) <= 60)  # it need not have been pushed by now
    assert worker.redis.llen(waiting) == 1
    sampler.held.clear()
    assert client.get("/samples?seed=1&count=16").status_code == 200  # a full line would refuse it


def test_late_answer_of_a_slow_sampler_withdraws_the_repeated_request(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.line._PATIENCE_SECONDS", 0.1)
    there = elsewhere(sample_timeout_seconds=20)
    there.end(State.SUCCEEDED)
    redis = there.worker.redis
    with ThreadPoolExecutor(1) as threads:
        waits = threads.submit(there.client.get, "/samples?seed=1")
        ask = Ask.unpack(str(until(lambda: redis.lpop(SAMPLES_WAITING))).encode())
        until(lambda: redis.llen(SAMPLES_WAITING))
        redis.rpush(SAMPLES_REPLIES_OF + ask.gateway, Answer(ask.id, "r1", b"late").pack())
        assert waits.result().content == b"late"
    until(lambda: not redis.llen(SAMPLES_WAITING))


def test_sampler_that_has_taken_a_request_is_told_that_its_client_left(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere(sample_timeout_seconds=20)
    there.end(State.SUCCEEDED)
    redis = there.worker.redis
    with _asking(str(there.client.base_url), "/samples?seed=1"):
        ask = Ask.unpack(str(until(lambda: redis.lpop(SAMPLES_WAITING))).encode())
    until(lambda: redis.exists(SAMPLES_WITHDRAWN_OF + ask.id))
    assert 0 < redis.pttl(SAMPLES_WITHDRAWN_OF + ask.id) <= 20_000


def _request(receive: Callable[[], Awaitable[Message]]) -> Request:
    return Request({"type": "http"}, receive)


async def _departure() -> Message:
    return {"type": "http.disconnect"}


async def _silence() -> Message:
    return await asyncio.Future()


def test_client_that_arrives_just_as_the_last_one_leaves_is_answered(
    redis_url: str, sampler: Sampler
) -> None:
    spec = SampleSpec(digest="sha256:" + "0" * 64, seed=1)
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")

    async def leave_and_come() -> bytes:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=10)
        running = asyncio.create_task(mailbox.run())
        pictures, deadline = Pictures(mailbox, 1000), mailbox.deadline(time.monotonic())
        sampler.hold()
        with pytest.raises(ClientDisconnect):
            await pictures.render(spec, place, _request(_departure), deadline)
        sampler.held.clear()
        picture = await pictures.render(spec, place, _request(_silence), deadline)
        mailbox.close()
        await running
        return picture.content

    assert asyncio.run(leave_and_come()) == spec.canonical().encode()


def test_failing_notice_does_not_affect_the_requests_that_were_pushed_with_it(
    redis_url: str, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")
    leaves, stays = (SampleSpec(digest="sha256:" + "0" * 64, seed=seed) for seed in (1, 2))
    notified: list[tuple[SampleSpec, int]] = []

    async def leave_and_come() -> Answer:
        mailbox = Mailbox(redis_url, timeout_seconds=20, queue_limit=10)

        async def all_were_taken(withdrawn: list[Waiting]) -> list[Waiting]:
            return withdrawn

        async def fail(taken: list[Waiting]) -> None:
            notified.extend((one.ask.spec, mailbox._pushed_place) for one in taken)
            raise ConnectionError("the sampling Redis went away")

        monkeypatch.setattr(mailbox, "_remove", all_were_taken)
        monkeypatch.setattr(mailbox, "_notify_samplers", fail)
        running = asyncio.create_task(mailbox.run())
        sampler.hold()
        left = asyncio.create_task(mailbox.ask(leaves, place, mailbox.deadline(time.monotonic())))
        while not sampler._redis.llen(SAMPLES_WAITING):
            await asyncio.sleep(0.01)
        left.cancel()
        stayed = asyncio.create_task(
            mailbox.ask(stays, place, mailbox.deadline(time.monotonic()))
        )  # goes into the same push
        while not notified:
            await asyncio.sleep(0.01)
        sampler.held.clear()
        answer = await stayed
        mailbox.close()
        await running
        return answer

    assert asyncio.run(leave_and_come()).content == stays.canonical().encode()
    assert notified == [(leaves, 2)]  # once both were pushed


def test_request_that_joins_a_rendering_late_outlives_it(redis_url: str, sampler: Sampler) -> None:
    spec = SampleSpec(digest="sha256:" + "0" * 64, seed=1)
    place = CheckpointPlace(job="job_" + "0" * 16, file="f")

    async def ask_in_turn() -> list[Picture | BaseException]:
        mailbox = Mailbox(redis_url, timeout_seconds=60, queue_limit=10)
        running = asyncio.create_task(mailbox.run())
        pictures = Pictures(mailbox, 1000)
        sampler.hold()
        now = time.monotonic()
        asked = [
            asyncio.create_task(pictures.render(spec, place, _request(_silence), now + seconds))
            for seconds in (2, 60, 60)
        ]
        await asyncio.wait(asked[:1])
        sampler.held.clear()
        results = await asyncio.gather(*asked, return_exceptions=True)
        mailbox.close()
        await running
        return results

    first, *joined = asyncio.run(ask_in_turn())
    assert isinstance(first, ServiceError)
    assert first.code is ErrorCode.SAMPLER_TIMEOUT
    assert {one.content for one in joined if isinstance(one, Picture)} == {spec.canonical().encode()}
    assert len({ask.deadline_ms for ask in sampler.asks}) == 2  # that of the first, and one for both others
