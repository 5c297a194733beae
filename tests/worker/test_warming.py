"""A job's best generator is loaded by every sampler before a name means it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest
import redis

from contract.alias import Meaning
from contract.job import CheckpointFact
from contract.keys import ALIASES, SAMPLES_REPLIES_OF, SAMPLES_WAITING_FOR, Role
from contract.store import hello
from contract.volume import Volume
from contract.wire import Answer, Ask
from tests.worker.asking import PLACE, save_generator
from worker.engine import Engine
from worker.sampling import SampleConsumer
from worker.store import Store
from worker.warming import Warming

LONG_SECONDS = 120.0


@pytest.fixture
def best(volume: Volume) -> CheckpointFact:
    return CheckpointFact(file=PLACE.file, digest=save_generator(volume), images_seen=8, bytes=1)


@pytest.fixture
def store(redis_url: str) -> Store:
    return Store(redis_url)


@pytest.fixture
def warming(store: Store, redis_url: str) -> Warming:
    return Warming(store, redis_url, LONG_SECONDS)


def follow(redis_url: str, job_id: str, *, follow: bool = True) -> None:
    """Let an alias mean a job's generator, now or always."""
    meaning = Meaning(job=job_id, digest="sha256:" + "0" * 64, file="other", follow=follow)
    redis.Redis.from_url(redis_url).hset(ALIASES, "best", meaning.model_dump_json())


def greet(store: Store, name: str, *, is_active: bool = True) -> None:
    store.run(hello(name, {"role": Role.SAMPLE, "name": name, "active": is_active}, 60))


@contextmanager
def in_a_thread(work: Callable[[], None]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join(LONG_SECONDS)
    assert not thread.is_alive()


def test_a_sampler_has_loaded_it_when_the_job_is_let_finish(
    store: Store, warming: Warming, best: CheckpointFact, engine: Engine, start: Callable[..., SampleConsumer]
) -> None:
    start(engine, "sample-1")
    greet(store, "sample-1")
    warming.load(PLACE.job, best, is_latest=True)
    assert [digest for digest, _ in engine._samplers] == [best.digest]


def test_whoever_moves_a_name_waits_for_each_sampler_that_works(
    store: Store, warming: Warming, best: CheckpointFact, redis_url: str
) -> None:
    for name in ("sample-1", "sample-2"):
        greet(store, name)
    greet(store, "sample-3", is_active=False)
    client = redis.Redis.from_url(redis_url)
    with in_a_thread(lambda: warming.load(PLACE.job, best, is_latest=True)) as moving:
        for name in ("sample-1", "sample-2"):
            taken = cast("tuple[bytes, bytes] | None", client.blpop([SAMPLES_WAITING_FOR + name], 10))
            assert taken is not None
            ask = Ask.unpack(taken[1])
            assert (ask.spec.digest, ask.place) == (best.digest, PLACE)
            assert moving.is_alive()
            client.rpush(SAMPLES_REPLIES_OF + ask.gateway, Answer(ask.id, "ours", b"png").pack())
        moving.join(LONG_SECONDS)
        assert not moving.is_alive()
    assert not client.exists(SAMPLES_WAITING_FOR + "sample-3")


def test_what_a_dying_sampler_was_asked_lapses_and_nobody_waits_long_for_it(
    store: Store, best: CheckpointFact, redis_url: str
) -> None:
    greet(store, "sample-1")
    with in_a_thread(
        lambda: Warming(store, redis_url, patience_seconds=1).load(PLACE.job, best, is_latest=True)
    ):
        pass
    assert 0 < int(redis.Redis.from_url(redis_url).ttl(SAMPLES_WAITING_FOR + "sample-1")) <= 10


@pytest.mark.parametrize(
    ("job_id", "follows", "is_asked"),
    [
        (PLACE.job, True, True),
        (PLACE.job, False, False),
        ("job_" + "1" * 16, True, False),
    ],
)
def test_while_a_job_runs_its_best_is_loaded_only_where_an_alias_follows_it(
    store: Store, best: CheckpointFact, redis_url: str, job_id: str, follows: bool, is_asked: bool
) -> None:
    greet(store, "sample-1")
    follow(redis_url, job_id, follow=follows)
    Warming(store, redis_url, patience_seconds=1).load(PLACE.job, best, is_latest=False)
    asked = redis.Redis.from_url(redis_url).exists(SAMPLES_WAITING_FOR + "sample-1")
    assert bool(asked) == is_asked


def test_an_alias_that_cannot_be_read_keeps_no_job_from_going_on(
    warming: Warming, best: CheckpointFact, redis_url: str
) -> None:
    redis.Redis.from_url(redis_url).hset(ALIASES, "best", "of another version")
    warming.load(PLACE.job, best, is_latest=False)


def test_a_redis_that_is_away_keeps_no_job_from_finishing(store: Store, best: CheckpointFact) -> None:
    greet(store, "sample-1")
    away = Warming(store, "redis://127.0.0.1:1/0", LONG_SECONDS)
    away.load(PLACE.job, best, is_latest=True)
    nowhere = Warming(Store("redis://127.0.0.1:1/0"), "redis://127.0.0.1:1/0", LONG_SECONDS)
    nowhere.load(PLACE.job, best, is_latest=False)


def test_a_redis_that_takes_calls_and_is_silent_keeps_nobody_longer_than_a_dying_sampler(
    store: Store, best: CheckpointFact
) -> None:
    greet(store, "sample-1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        left = [*threading.enumerate()]
        Warming(store, url, patience_seconds=0.1).load(PLACE.job, best, is_latest=True)
        (asking,) = {*threading.enumerate()} - {*left}  # its caller does not wait for it
    asking.join(LONG_SECONDS)
    assert not asking.is_alive()
