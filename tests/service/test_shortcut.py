"""The fast path to samples answers like the slow one, header for header and byte for byte."""

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from contract.errors import ErrorCode, ServiceError
from contract.forgetting import forget_job
from contract.job import CheckpointFact
from contract.training import MAX_SEED
from service.limits import MAX_JSON_BYTES
from service.remembered import Remembered
from service.shortcut import _parse, read_plain
from service.single_flight import SingleFlight
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.waiting import until

PLAIN = (
    "seed=7",
    "count=4&seed=7",
    f"seed={MAX_SEED}",
    "seed=7&model=latest",
    "seed=7&model=DIGEST",
    "model=DIGEST&count=2&seed=1",
    "seed=7&format=png&model=DIGEST",
    "seed=007&model=DIGEST",
    "seed=7&model=nobody",
    "seed=7&model=Best",
    "seed=7&model=sha256:12",
    f"count=2&seed={MAX_SEED}",
)
ODD = (
    "seed=-1",
    "seed=1.5",
    f"seed={MAX_SEED + 1}",
    "seed=",
    "seed",
    "seed=7&seed=8",
    "seed=7&count=0",
    "seed=7&count=1025",
    "seed=7&format=gif",
    "seed=7&sede=2",
    "seed=+7&model=DIGEST",
    "seed=7&model=a%20b",
    "seed=7&&model=DIGEST",
    "&seed=7",
    "seed=7&model=DIGEST#part",
    "seed=7;count=2",
)


def ask(client: httpx.Client, method: str, query: str, **headers: str) -> tuple[Any, ...]:
    """Status, headers and body of a response, without its date and timing."""
    answer = client.request(method, f"/samples?{query}", headers=headers)
    told = answer.headers.multi_items()
    kept = sorted((name, "" if name in ("date", "server-timing") else value) for name, value in told)
    return answer.status_code, kept, answer.content


def by_the_long_way(query: str) -> str:
    """The same query with its first letter percent-encoded, which takes the slow path."""
    place = next(place for place, letter in enumerate(query) if letter.isalpha())
    return f"{query[:place]}%{ord(query[place]):02x}{query[place + 1 :]}"


@pytest.mark.parametrize("query", [*PLAIN, *ODD])
def test_both_paths_answer_alike(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, query: str
) -> None:
    query = query.replace("DIGEST", finished.digest)
    etag = client.get(f"/samples?seed=7&model={finished.digest}").headers["etag"]
    for headers in (
        {},
        {"if-none-match": etag},
        {"accept": "image/*"},
        {"accept": "text/html"},
        {"host": "evil.example"},
    ):
        for method in ("GET", "HEAD", "PUT"):
            short = ask(client, method, query, **headers)
            assert short == ask(client, method, by_the_long_way(query), **headers), (method, headers)


@pytest.mark.parametrize("query", PLAIN)
def test_plain_queries_take_the_fast_path(query: str) -> None:
    query = query.replace("DIGEST", "sha256:" + "0" * 64)
    assert read_plain(query.encode())
    assert not read_plain(by_the_long_way(query).encode())


@pytest.mark.parametrize("query", ODD)
def test_odd_queries_do_not_take_the_fast_path(query: str) -> None:
    assert not read_plain(query.encode())


def test_long_queries_are_not_cached() -> None:
    before = _parse.cache_info().misses
    assert not read_plain(b"seed=" + b"7" * 3000)
    assert _parse.cache_info().misses == before
    assert not read_plain(b"&".join(b"%b=%b" % (b"a" * 31 + b"%c" % (97 + n), b"a" * 128) for n in range(16)))
    assert _parse.cache_info().misses == before + 1  # as long as a plain query can be


def test_body_of_a_get_is_bounded_on_both_paths(client: httpx.Client) -> None:
    for query in ("seed=7", by_the_long_way("seed=7")):
        answer = client.request("GET", f"/samples?{query}", content=bytes(MAX_JSON_BYTES + 1))
        refused(answer, 413, "body_too_large")


def test_request_with_two_hosts_is_refused_on_both_paths(gateway_url: str) -> None:
    place = urlsplit(gateway_url)
    for query in ("seed=7", by_the_long_way("seed=7")):
        head = f"GET /samples?{query} HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
        with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_exception_on_the_fast_path_is_reported_as_on_the_slow_one(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr("service.shortcut.get_samples", fail)
    refused(client.get("/samples?seed=7"), 500, "internal")
    assert "a mistake of ours" in caplog.text
    refused(client.get("/samples?%73eed=7"), 404, "no_model_yet")


def test_picture_of_a_job_deleted_by_this_gateway_is_gone_at_once(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    address = f"/samples?seed=7&model={finished.digest}"
    assert client.get(address).status_code == 200
    (job,) = client.get("/jobs").json()["items"]
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    refused(client.get(address), 404, "model_not_found")


def test_picture_of_a_job_deleted_elsewhere_is_gone_soon(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact
) -> None:
    address = f"/samples?seed=7&model={finished.digest}"
    assert client.get(address).status_code == 200
    (job,) = client.get("/jobs").json()["items"]
    assert worker.run(forget_job(job["id"]))[0] == "forgotten"
    until(lambda: client.get(address).status_code == 404)


def test_answer_being_read_while_the_cache_is_cleared_is_not_cached() -> None:
    remembered = Remembered(SingleFlight(), lambda: False, asyncio.create_task)

    async def read() -> str:
        remembered.forget()
        return "old"

    assert asyncio.run(remembered.ask("question", read)) == "old"
    assert not remembered.knows("question")


def test_answer_is_cached_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 60.0)
    remembered, reads = Remembered(SingleFlight(), lambda: False, asyncio.create_task), []

    async def read() -> str:
        reads.append(1)
        return "answer"

    async def ask(times: int) -> None:
        assert [await remembered.ask("question", read) for _ in range(times)] == ["answer"] * times

    asyncio.run(ask(3))
    assert len(reads) == 1
    monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 0.0)
    asyncio.run(ask(1))
    assert len(reads) == 2


@pytest.mark.parametrize(("fate", "then"), [("renewed", "new"), ("away", "old"), ("gone", None)])
def test_stale_answer_is_served_under_pressure_and_refreshed_in_the_background(
    monkeypatch: pytest.MonkeyPatch, fate: str, then: str | None
) -> None:
    pressed, reads, tasks = [False], iter(["old", "new"]), list[asyncio.Task[None]]()
    remembered = Remembered(
        SingleFlight(), lambda: pressed[0], lambda work: tasks.append(asyncio.create_task(work))
    )

    async def read() -> str:
        answer = next(reads)
        if answer == "new" and fate == "away":
            raise redis.ConnectionError
        if answer == "new" and fate == "gone":
            raise ServiceError(ErrorCode.MODEL_NOT_FOUND, "It was deleted.")
        return answer

    async def play() -> None:
        assert await remembered.ask("question", read) == "old"
        monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 0.0)
        assert not remembered.knows("question")
        pressed[0] = True
        assert remembered.knows("question")
        assert await remembered.ask("question", read) == "old"
        assert await remembered.ask("question", read) == "old", "one renewal at a time"
        await asyncio.gather(*tasks)
        assert len(tasks) == 1
        assert remembered.knows("question") == (then is not None)
        monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 60.0)
        assert then is None or await remembered.ask("question", read) == then
        monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 0.0)
        monkeypatch.setattr("service.remembered.UNDER_PRESSURE_SECONDS", 0.0)
        assert not remembered.knows("question"), "it is too old even so"

    asyncio.run(play())
