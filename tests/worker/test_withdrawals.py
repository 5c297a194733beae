"""A sampler gives up what it has taken once the clients have disconnected, and nothing else."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
import redis

from contract.keys import SAMPLES_WITHDRAWN_OF
from contract.sampling import CheckpointPlace, SampleSpec
from contract.volume import Volume
from contract.wire import Ask
from models.environment import detect
from models.sampler import Sampler
from tests.worker.asking import Gateway
from worker import rendering
from worker.engine import Engine
from worker.rendering import Images
from worker.sampling import SampleConsumer
from worker.store import connect
from worker.withdrawals import LOOK_SECONDS, Withdrawals

Start = Callable[..., SampleConsumer]
SHEET = 1024


def withdraw(gateway: Gateway, ask: Ask) -> None:
    gateway.redis.set(SAMPLES_WITHDRAWN_OF + ask.id, b"", pxat=ask.deadline_ms)


def test_withdrawn_ask_never_reaches_the_forward_pass(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.withdrawals.LOOK_SECONDS", 0)
    left, stays, later = gateway.ask(1), gateway.ask(2), gateway.ask(3)
    withdraw(gateway, left)
    gateway.push(left, stays)
    start(engine)
    assert gateway.answers(1)[0].id == stays.id
    gateway.push(later)
    assert gateway.answers(1)[0].id == later.id


@pytest.mark.parametrize("leaves", [True, False])
def test_sheet_is_given_up_in_the_middle_when_its_client_leaves(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    monkeypatch.setattr("worker.withdrawals.LOOK_SECONDS", 0)
    sheet, later = gateway.ask(1, count=SHEET), gateway.ask(2)
    passes = {sheet.id: 0, later.id: 0}
    begun = threading.Event()

    def render(sampler: Sampler, portion: Sequence[Ask], after_pass: Callable[[], None]) -> Images:
        def count() -> None:
            passes[portion[0].id] += 1
            if leaves:
                withdraw(gateway, sheet)
            begun.set()
            after_pass()

        return rendering.render(sampler, portion, count)

    monkeypatch.setattr("worker.sampling.render", render)
    gateway.push(sheet)
    start(engine)
    assert begun.wait(60)
    if not leaves:
        assert gateway.answers(1)[0].id == sheet.id
    gateway.push(later)
    assert gateway.answers(1)[0].id == later.id
    assert passes[later.id] == 1
    assert (passes[sheet.id] == 1) is leaves


class Deaf:
    """A connection that fails, and counts how often it was used."""

    def __init__(self) -> None:
        self.uses = 0

    def mget(self, keys: list[str]) -> Any:
        self.uses += 1
        raise redis.ConnectionError(f"{len(keys)} keys")


def test_what_was_just_taken_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.withdrawals.LOOK_SECONDS", 60)
    connection = Deaf()
    withdrawals = Withdrawals(cast("redis.Redis", connection))
    withdrawals.look({})
    withdrawals.look({"a": time.monotonic()})
    assert not connection.uses


def test_everything_counts_as_awaited_while_redis_fails_and_it_is_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = Deaf()
    withdrawals = Withdrawals(cast("redis.Redis", connection))
    long_ago = time.monotonic() - LOOK_SECONDS
    for _ in range(3):
        withdrawals.look({"a": long_ago})
    assert connection.uses == 1
    assert "a" not in withdrawals
    monkeypatch.setattr("worker.withdrawals.PAUSE_SECONDS", 0)
    eager = Withdrawals(cast("redis.Redis", connection))
    for _ in range(3):
        eager.look({"a": long_ago})
    assert connection.uses == 4


def test_looks_have_an_interval(gateway: Gateway, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.withdrawals.LOOK_SECONDS", 60)
    first, second = gateway.ask(1), gateway.ask(2)
    taken_at = {ask.id: time.monotonic() - 60 for ask in (first, second)}
    withdrawals = Withdrawals(connect(redis_url, decode=False))
    for ask in (first, second):
        withdraw(gateway, ask)
        withdrawals.look(taken_at)
    withdrawals.look(taken_at)
    assert [ask.id in withdrawals for ask in (first, second)] == [True, False]


class Loading(Engine):
    """Has its generator only once it is told to."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume, detect("cpu", 1, "float32"), 2**30)
        self.asked = threading.Event()
        self.has_loaded = threading.Event()

    def sampler(self, spec: SampleSpec, place: CheckpointPlace) -> Sampler | None:
        self.asked.set()
        return super().sampler(spec, place) if self.has_loaded.is_set() else None


def test_ask_withdrawn_while_its_generator_loads_is_not_rendered(
    gateway: Gateway, volume: Volume, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.withdrawals.LOOK_SECONDS", 0)
    loading = Loading(volume)
    left, stays = gateway.ask(1), gateway.ask(2)
    gateway.push(left, stays)
    start(loading)
    assert loading.asked.wait(60)
    withdraw(gateway, left)
    loading.has_loaded.set()
    assert gateway.answers(1)[0].id == stays.id
    later = gateway.ask(3)
    gateway.push(later)
    assert gateway.answers(1)[0].id == later.id
