"""Requests to load generators stay few, however many aliases move, and delay no other request."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from contract.job import CheckpointFact
from contract.keys import SAMPLES_WAITING_FOR
from contract.sampling import SampleSpec
from service.gateway import Gateway
from service.references import Target
from service.settings import Settings
from tests.service.playing import STAGES, Sampler, Worker


@pytest.fixture
def warm_all(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[int]], None]:
    """Warms generators, identified by numbers, concurrently."""
    monkeypatch.setattr("service.warming.LIVES_SECONDS", 60)

    async def together(numbers: list[int]) -> None:
        gateway = Gateway(Settings(data_root=tmp_path, redis_url=redis_url))
        monkeypatch.setattr(gateway.mailbox, "_sender", None)  # reserved for requests for samples
        targets = map(target, numbers)
        await asyncio.gather(*(gateway.warming.warm(one.digest, one.place) for one in targets))
        await asyncio.gather(*gateway.background.tasks)
        await gateway.warming.close()
        await gateway.store.close()

    return lambda numbers: asyncio.run(together(numbers))


def target(number: int) -> Target:
    return Target(job=None, digest=f"sha256:{number:064x}", file="f")


def test_concurrent_calls_for_one_generator_share_its_loading(
    warm_all: Callable[[list[int]], None], sampler: Sampler, worker: Worker
) -> None:
    sampler.hold()
    warm_all([7] * 50)
    asked = worker.redis.llen(SAMPLES_WAITING_FOR + "sample-1")
    assert 1 <= asked <= 2  # one under way, and one for all later calls


def test_only_some_of_many_generators_are_loaded_at_a_time(
    warm_all: Callable[[list[int]], None], sampler: Sampler, worker: Worker
) -> None:
    sampler.hold()
    warm_all(list(range(50)))
    assert worker.redis.llen(SAMPLES_WAITING_FOR + "sample-1") == 8


def test_line_knows_what_a_generator_costs_before_an_alias_moves_to_it(
    tmp_path: Path, redis_url: str, sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 60)

    async def warmed() -> Gateway:
        gateway = Gateway(Settings(data_root=tmp_path, redis_url=redis_url))
        gateway.mailbox.load.learn(spec(1), 0.1)
        await gateway.warming.warm(target(7).digest, target(7).place)
        await asyncio.gather(*gateway.background.tasks)
        await gateway.warming.close()
        await gateway.store.close()
        return gateway

    costs = asyncio.run(warmed()).mailbox.load._costs
    assert [ask.spec for ask in sampler.asks] == [spec(7)]
    assert costs.of(spec(7)) == 1000 * STAGES.each
    assert costs.is_stranger(spec(8))


def spec(number: int) -> SampleSpec:
    return SampleSpec(digest=target(number).digest, seed=0, count=1)


@pytest.mark.parametrize("body", ["job", "digest"])
def test_generator_that_an_alias_already_points_to_is_not_loaded_again(
    client: httpx.Client,
    sampler: Sampler,
    finished: CheckpointFact,
    body: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 60)
    job_id = client.get("/models/latest").json()["job"]
    named = {"job": job_id} if body == "job" else {"digest": finished.digest}
    for _ in range(3):
        assert client.put("/models/best", json=named).is_success
    assert len(sampler.asks) == 1
