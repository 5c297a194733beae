"""A rebuild in which Redis is emptied again, or its process suspended, counts as a whole or not at all."""

import itertools
import json
from collections.abc import Callable
from typing import TypeVar

import pytest
import redis

from contract import keys
from contract.command import Command
from contract.job import State
from contract.keys import KEYS, RecordKind
from contract.rebuilding import OvertakenError, end_rebuild, restore
from contract.volume import Volume
from worker import rebuild_records
from worker.rebuild import Rebuilder
from worker.store import Store

T = TypeVar("T")
JOB = RecordKind.JOB
JOBS = ("job_000000000000000a", "job_000000000000000b", "job_000000000000000c")
Between = Callable[[int, Callable[[], object]], None]


@pytest.fixture
def laid(volume: Volume) -> Volume:
    """A volume with queued jobs."""
    for job in JOBS:
        volume.job(job).mkdir(parents=True)
        volume.spec(job).write_text(json.dumps({"dataset": "ds_0123456789abcdef"}))
    return volume


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    """Calls a function once this many records have been restored."""
    run = Store.run

    def let(restored_before: int, happen: Callable[[], object]) -> None:
        restored = itertools.count(1)

        def run_and_let(store: Store, command: Command[T]) -> T:
            reply = run(store, command)
            if command.arguments[1] == "restore" and next(restored) == restored_before:
                happen()
            return reply

        monkeypatch.setattr(Store, "run", run_and_let)

    return let


@pytest.mark.parametrize("restored_before", [1, len(JOBS)])
@pytest.mark.usefixtures("laid")
def test_nothing_is_missing_after_redis_was_emptied_again_during_a_rebuild(
    store: Store, rebuilder: Rebuilder, client: redis.Redis, between: Between, restored_before: int
) -> None:
    between(restored_before, client.flushdb)
    while not rebuilder.rebuild_if_lost():
        assert not store.has_epoch()
    assert [store.state(JOB, job) for job in JOBS] == [State.QUEUED] * 3


@pytest.mark.usefixtures("laid")
def test_worker_that_resumes_during_the_rebuild_of_another_neither_joins_nor_ends_it(
    store: Store, rebuilder: Rebuilder, client: redis.Redis, between: Between
) -> None:
    between(1, lambda: client.set(keys.REBUILDING, "another's"))
    assert not rebuilder.rebuild_if_lost()
    assert not store.has_epoch()
    assert client.get(keys.REBUILDING) == "another's"
    assert client.zcard(KEYS[JOB].all) == 1


def test_lock_is_extended_with_every_record(store: Store, client: redis.Redis) -> None:
    rebuild = store.lock_rebuild("w0", 60)
    assert rebuild
    client.expire(keys.REBUILDING, 30)
    rebuild.run(restore(JOB, JOBS[0], {"created_us": "1", "state": "queued"}, [], 60))
    assert client.ttl(keys.REBUILDING) > 30
    assert not store.lock_rebuild("w1", 60)


def test_lock_is_extended_while_many_records_are_looked_at(
    rebuilder: Rebuilder, volume: Volume, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow volume, that takes longer than the lock lasts, before the first is restored."""
    monkeypatch.setattr(rebuild_records, "LOOKED_AT_AT_ONCE", len(JOBS))
    for number in range(2 * len(JOBS)):
        volume.job(job := f"job_{number:016}").mkdir(parents=True)
        volume.spec(job).write_text(json.dumps({"dataset": "ds_0123456789abcdef"}))
    look, left_seconds = rebuild_records._doubt, []

    def look_slowly(record_id: str, volume: Volume) -> tuple[bool, int]:
        left_seconds.append(client.ttl(keys.REBUILDING))
        client.expire(keys.REBUILDING, 20)
        return look(record_id, volume)

    monkeypatch.setattr(rebuild_records, "_doubt", look_slowly)
    assert rebuilder.rebuild_if_lost()
    assert [seconds > 20 for seconds in left_seconds] == [True, False, False] * 2


def test_lock_is_held_even_if_the_reply_was_lost(
    store: Store, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def try_again(name: str, value: str, *, nx: bool, ex: int) -> object:
        client.set(name, value, ex=ex)  # whose reply was lost
        return client.set(name, value, nx=nx, ex=ex)

    monkeypatch.setattr(store._redis, "set", try_again)
    assert store.lock_rebuild("w0", 60)


def test_ending_a_rebuild_fails_after_redis_was_emptied_again(store: Store, client: redis.Redis) -> None:
    rebuild = store.lock_rebuild("w0", 60)
    assert rebuild
    client.flushdb()
    with pytest.raises(OvertakenError):
        rebuild.run(end_rebuild("e"))
    assert not store.has_epoch()
