"""Liveness depends on no other part; readiness names every missing one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from contract.job import State
from contract.keys import EPOCH, Role
from contract.workers import hello
from service.gateway import Gateway
from service.hub import Hub
from service.mailbox import Mailbox
from service.settings import Settings
from tests.service.deployment import Deployment
from tests.service.playing import Sampler, Worker
from tests.service.serving import client_of
from tests.service.waiting import until


def missing(client: httpx.Client) -> set[str]:
    """The parts that /readyz names; asserts that its status agrees."""
    answer = client.get("/readyz")
    readiness = answer.json()
    assert (answer.status_code == 200) == readiness["ready"] == (not readiness["missing"])
    return {one["part"] for one in readiness["missing"]}


def test_service_is_ready_when_no_part_is_missing(client: httpx.Client) -> None:
    assert missing(client) == set()


@pytest.mark.parametrize(
    ("role", "part"),
    [(Role.TRAIN, "trainer"), (Role.PREPARE, "preparer"), (Role.SAMPLE, "sampler")],
)
def test_an_absent_worker_is_named(client: httpx.Client, worker: Worker, role: Role, part: str) -> None:
    worker.goodbye(role)
    until(lambda: missing(client) == {part})
    worker.hello(role)
    until(lambda: missing(client) == set())


def test_worker_of_a_role_that_only_a_newer_version_knows_is_ignored(
    client: httpx.Client, worker: Worker
) -> None:
    worker.run(hello("newer-1", {"role": "of the next version"}, 60))
    worker.goodbye(Role.PREPARE)
    until(lambda: missing(client) == {"preparer"})


def test_living_sampler_that_does_not_render_says_why(client: httpx.Client, worker: Worker) -> None:
    trouble = "its last forward pass ended 31 s ago"
    facts = {"role": Role.SAMPLE, "active": False, "trouble": trouble, "renderer": "r1"}
    worker.run(hello(f"{Role.SAMPLE}-1", facts, 60))
    until(lambda: missing(client) == {"sampler"})
    detail = client.get("/readyz").json()["missing"][0]["detail"]
    assert detail == f"A worker with --role sample is running, but {trouble}."


def test_sick_sampler_is_named_although_another_is_well(client: httpx.Client, worker: Worker) -> None:
    trouble = "its forward pass fails: CUDA error"
    facts = {"role": Role.SAMPLE, "name": "sample-2", "active": False, "trouble": trouble, "renderer": "r1"}
    assert client.get("/readyz").json()["impaired"] == []
    worker.run(hello("sample-2", facts, 60))
    readiness = client.get("/readyz")
    assert (readiness.status_code, readiness.json()["missing"]) == (200, [])
    assert readiness.json()["impaired"] == [
        {"part": "sampler", "worker": "sample-2", "detail": f"{trouble}."}
    ]


def test_records_that_are_being_rebuilt_are_named(client: httpx.Client, worker: Worker) -> None:
    worker.redis.delete(EPOCH)
    assert missing(client) == {"records"}


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(data_root=tmp_path / "file", redis_url="redis://127.0.0.1:9/0")
    with client_of(settings) as client:
        assert missing(client) == {"store", "sampling_store", "volume"}
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_may_use_head(client: httpx.Client, path: str) -> None:
    assert (client.head(path).status_code, client.head(path).content) == (200, b"")


@pytest.mark.parametrize(("owner", "reading"), [(Mailbox, "_read_answers"), (Hub, "_listen")])
def test_reader_that_fails_is_logged_and_restarted(
    elsewhere: Callable[..., Deployment],
    sampler: Sampler,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: type,
    reading: str,
) -> None:
    read, begun = getattr(owner, reading), []

    async def fail_once(reader: object) -> None:
        begun.append(reader)
        if len(begun) == 1:
            raise RuntimeError("a mistake of ours")
        await read(reader)

    monkeypatch.setattr(owner, reading, fail_once)
    there = elsewhere()
    until(lambda: len(begun) > 1)
    assert "RuntimeError: a mistake of ours" in caplog.text
    there.end(State.SUCCEEDED)
    consumer = Sampler(there.worker.url)
    consumer.start()
    assert there.client.get("/samples?seed=1").status_code == 200
    consumer.stop()


def test_failure_of_a_background_task_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("a mistake of ours")

    async def begin() -> None:
        gateway = Gateway(Settings(data_root=tmp_path))
        gateway.background.run(fail())
        while gateway.background.tasks:
            await asyncio.sleep(0)

    asyncio.run(begin())
    assert "RuntimeError: a mistake of ours" in caplog.text
