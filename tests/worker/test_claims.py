"""A claim is confirmed before anything else: from then on, the death of its owner counts."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisAway

from contract import reaping
from contract.command import Command
from contract.job import Record, State
from tests.worker.owner import JOB, Worker
from worker.facts import Facts
from worker.ownership import Ownership
from worker.store import Store

FIRST = "job_0000000000000001"


def at_the_first_beat(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Act once, just before a beat is sent."""
    run, acts = Store.run, iter([act])

    def run_after_acting(store: Store, command: Command[Any]) -> object:
        if command.arguments[1] == "beat":
            next(acts, lambda: None)()
        return run(store, command)

    monkeypatch.setattr(Store, "run", run_after_acting)


def test_claim_is_confirmed_before_the_owner_does_anything(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, was_unconfirmed = Ownership.__init__, []

    def begin_and_look(ownership: Ownership, *given: Any, **named: Any) -> None:
        was_unconfirmed.append(worker.records.read(FIRST).unconfirmed)
        begin(ownership, *given, **named)

    monkeypatch.setattr(Ownership, "__init__", begin_and_look)
    worker.submit(FIRST)
    worker.start("finish")
    worker.finish()
    assert was_unconfirmed == [False]


def test_work_goes_on_if_the_confirmation_fails(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RedisAway

    at_the_first_beat(monkeypatch, fail)
    worker.submit(FIRST)
    worker.start("finish")
    worker.finish()
    done = worker.records.read(FIRST)
    assert (done.state, done.attempt, done.deaths) == (State.SUCCEEDED, 1, 0)


def test_claim_that_was_lost_before_it_was_confirmed_is_not_carried_out(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Record] = []

    def write_order(record: Record, _: Facts) -> tuple[str, str]:
        begun.append(record)
        return "tests.worker.small_work:finish", ""

    def lose() -> None:
        worker.records.run(reaping.reap(JOB, max_deaths=3, owner="w0"))
        worker.records.claim("w1")

    at_the_first_beat(monkeypatch, lose)
    worker.submit(FIRST)
    worker.start("finish", write_order)
    worker.finish()
    assert begun == []
    assert not worker.volume.all_facts(FIRST)
