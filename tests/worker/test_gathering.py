"""A sampler that has caught up waits a moment for more asks, instead of rendering the first by itself."""

from collections.abc import Callable
from typing import NoReturn

import pytest
import redis

from tests.worker.asking import Gateway
from worker.engine import Engine
from worker.sampling import GATHER_SECONDS, SEVERAL, SampleConsumer


@pytest.fixture
def consumer(engine: Engine, redis_url: str) -> SampleConsumer:
    return SampleConsumer("sample-1", redis_url, engine, "ours", batch_limit=64)


def _when_it_waits(
    consumer: SampleConsumer, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> list[float | None]:
    """Do this in place of its waiting; return how long it would have waited each time."""
    waits: list[float | None] = []

    def wait(seconds: float | None = None) -> bool:
        waits.append(seconds)
        act()
        return False

    monkeypatch.setattr(consumer._end, "wait", wait)
    return waits


def _take_several(consumer: SampleConsumer, gateway: Gateway) -> None:
    gateway.push(*(gateway.ask(seed) for seed in range(SEVERAL)))
    assert len(consumer._take()) == SEVERAL


def test_few_asks_after_several_are_joined_by_those_of_the_next_moment(
    consumer: SampleConsumer, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = [gateway.ask(seed) for seed in range(100, 103)]
    _take_several(consumer, gateway)
    waits = _when_it_waits(consumer, monkeypatch, lambda: gateway.push(*asks[1:]))
    gateway.push(asks[0])
    assert [ask.id for ask in consumer._take()] == [ask.id for ask in asks]
    assert waits == [GATHER_SECONDS]


def test_an_ask_after_few_others_is_taken_at_once(
    consumer: SampleConsumer, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = _when_it_waits(consumer, monkeypatch, lambda: None)
    for seed in range(3):
        gateway.push(gateway.ask(seed))
        assert len(consumer._take()) == 1
    assert waits == []


def test_asks_taken_before_redis_went_away_are_kept(
    consumer: SampleConsumer, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(**_options: object) -> NoReturn:
        raise redis.ConnectionError("gone")

    _take_several(consumer, gateway)
    ask = gateway.ask(100)
    gateway.push(ask)
    _when_it_waits(consumer, monkeypatch, lambda: monkeypatch.setattr(consumer._redis, "pipeline", gone))
    assert [taken.id for taken in consumer._take()] == [ask.id]
