"""Every sampler loads a job's best generator before a name points to it."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import pytest
import redis

from contract.alias import Meaning
from contract.errors import ErrorCode
from contract.job import CheckpointFact
from contract.keys import ALIASES, SAMPLES_REPLIES_OF, SAMPLES_WAITING_FOR, Role
from contract.sampling import CheckpointPlace, SamplePrecision
from contract.volume import Volume
from contract.warming import LivingSampler, living_samplers
from contract.wire import Answer, Ask
from contract.workers import hello
from models.environment import detect
from tests.worker.asking import PLACE, Gateway, save_generator
from tests.worker.threadless import no_threads
from worker.engine import Engine
from worker.sampling import SampleConsumer
from worker.store import Store
from worker.warming import Warming

LONG_SECONDS = 120


@pytest.fixture(autouse=True)
def _asks_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks are answered, and looked at, by threads and tests that may have to wait for a core."""
    monkeypatch.setattr("contract.warming.PATIENCE_SECONDS", LONG_SECONDS)
    monkeypatch.setattr("worker.warming.LIVES_SECONDS", LONG_SECONDS)


@pytest.fixture
def best(volume: Volume) -> CheckpointFact:
    return CheckpointFact(file=PLACE.file, digest=save_generator(volume), images_seen=8, bytes=1)


@pytest.fixture
def warming(store: Store, redis_url: str) -> Warming:
    return Warming(store, redis_url, LONG_SECONDS)


def follow(redis_url: str, job_id: str, *, follow: bool = True) -> None:
    """Let an alias point to a job's generator, and follow the job or not."""
    meaning = Meaning(job=job_id, digest="sha256:" + "0" * 64, file="other", follow=follow)
    redis.Redis.from_url(redis_url).hset(ALIASES, "best", meaning.model_dump_json())


def greet(store: Store, name: str, *, is_active: bool = True, precisions: Sequence[str] = ("auto",)) -> None:
    facts = {"role": Role.SAMPLE, "name": name, "active": is_active, "precisions": precisions}
    store.run(hello(name, facts, 60))


@contextmanager
def in_a_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join(LONG_SECONDS)
    assert not thread.is_alive()


def until_asked(redis_url: str) -> int:
    """Wait until the sampler has been asked, and return the TTL of that list in seconds."""
    client = redis.Redis.from_url(redis_url)
    for _ in range(6000):
        if (lives_seconds := client.ttl(SAMPLES_WAITING_FOR + "sample-1")) > 0:
            return lives_seconds
        threading.Event().wait(0.01)
    raise AssertionError("nobody was asked")


def is_anybody_asked(redis_url: str) -> bool:
    return any(redis.Redis.from_url(redis_url).scan_iter(SAMPLES_WAITING_FOR + "*"))


def test_sampler_has_loaded_the_best_before_the_job_may_finish(
    store: Store, warming: Warming, best: CheckpointFact, engine: Engine, start: Callable[..., SampleConsumer]
) -> None:
    start(engine, "sample-1")
    greet(store, "sample-1")
    warming.load(PLACE.job, best, is_latest=True)
    assert [digest for digest, _ in engine._samplers] == [best.digest]


@pytest.mark.parametrize("is_wanted", [True, False])
def test_sampler_of_whom_float32_is_wanted_loads_the_best_in_it_too(
    store: Store,
    warming: Warming,
    best: CheckpointFact,
    volume: Volume,
    redis_url: str,
    start: Callable[..., SampleConsumer],
    is_wanted: bool,
) -> None:
    earlier = CheckpointPlace(job=PLACE.job, file="earlier.safetensors")
    gateway = Gateway(redis_url, save_generator(volume, 1, earlier), earlier)
    engine = Engine(volume, detect("cpu", 1, "bfloat16"), 2**30)
    consumer = start(engine, "sample-1")
    for seed in (7, 8):  # once the second is answered, what the first has changed is told
        gateway.push(gateway.ask(seed, precision="float32" if is_wanted else "auto"))
        gateway.answers(1)
    greet(store, "sample-1", precisions=consumer.precisions)
    warming.load(PLACE.job, best, is_latest=True)
    loaded = {precision for digest, precision in engine._samplers if digest == best.digest}
    assert loaded == ({"auto", "float32"} if is_wanted else {"auto"})


@pytest.mark.parametrize(
    ("told", "understood"),
    [({}, ("auto",)), ({"precisions": ["auto", "float32", "int4"]}, ("auto", "float32"))],
)
def test_precisions_of_samplers_of_other_versions_are_understood(
    told: dict[str, Any], understood: tuple[SamplePrecision, ...]
) -> None:
    facts = {"role": Role.SAMPLE, "name": "sample-1", "active": True, **told}
    assert living_samplers([facts]) == [LivingSampler("sample-1", understood)]


def test_load_waits_for_every_active_sampler(
    store: Store, warming: Warming, best: CheckpointFact, redis_url: str
) -> None:
    for name in ("sample-1", "sample-2"):
        greet(store, name)
    greet(store, "sample-3", is_active=False)
    client = redis.Redis.from_url(redis_url, socket_timeout=None)
    with in_a_thread(lambda: warming.load(PLACE.job, best, is_latest=True)) as moving:
        for name in ("sample-1", "sample-2"):
            taken = cast(
                "tuple[bytes, bytes] | None", client.blpop([SAMPLES_WAITING_FOR + name], LONG_SECONDS)
            )
            assert taken is not None
            ask = Ask.unpack(taken[1])
            assert (ask.spec.digest, ask.place) == (best.digest, PLACE)
            assert moving.is_alive()
            client.rpush(SAMPLES_REPLIES_OF + ask.gateway, Answer(ask.id, "ours", b"png").pack())
        moving.join(LONG_SECONDS)
        assert not moving.is_alive()
    assert not client.exists(SAMPLES_WAITING_FOR + "sample-3")


def test_refusal_of_one_sampler_is_heard_at_once(
    store: Store, warming: Warming, best: CheckpointFact, redis_url: str
) -> None:
    for name in ("sample-1", "sample-2"):  # the first never answers
        greet(store, name)
    client = redis.Redis.from_url(redis_url)
    heard: list[str | None] = []
    with in_a_thread(lambda: heard.append(warming.load(PLACE.job, best, is_latest=True))):
        taken = cast("tuple[bytes, bytes] | None", client.blpop([SAMPLES_WAITING_FOR + "sample-2"], 10))
        assert taken is not None
        ask = Ask.unpack(taken[1])
        refusal = Answer(ask.id, "ours", b"", ErrorCode.CHECKPOINT_UNREADABLE, "It is damaged.")
        client.rpush(SAMPLES_REPLIES_OF + ask.gateway, refusal.pack())
    assert heard == ["It is damaged."]


def test_ask_for_a_dying_sampler_expires_and_load_does_not_wait_long(
    store: Store, best: CheckpointFact, redis_url: str
) -> None:
    greet(store, "sample-1")
    with in_a_thread(
        lambda: Warming(store, redis_url, patience_seconds=1).load(PLACE.job, best, is_latest=True)
    ):
        assert until_asked(redis_url) <= LONG_SECONDS


def test_best_of_a_running_job_is_loaded_if_an_alias_follows_the_job(
    store: Store, best: CheckpointFact, redis_url: str
) -> None:
    greet(store, "sample-1")
    follow(redis_url, PLACE.job)
    Warming(store, redis_url, patience_seconds=1).load(PLACE.job, best, is_latest=False)
    assert until_asked(redis_url)


@pytest.mark.parametrize(("job_id", "follows"), [(PLACE.job, False), ("job_" + "1" * 16, True)])
def test_best_of_a_running_job_is_not_loaded_if_no_alias_follows_the_job(
    store: Store, best: CheckpointFact, redis_url: str, job_id: str, follows: bool
) -> None:
    greet(store, "sample-1")
    follow(redis_url, job_id, follow=follows)
    Warming(store, redis_url, patience_seconds=5).load(PLACE.job, best, is_latest=False)
    assert not is_anybody_asked(redis_url)


def test_unreadable_alias_does_not_keep_a_job_from_going_on(
    store: Store, warming: Warming, best: CheckpointFact, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "worker.warming")
    greet(store, "sample-1")
    redis.Redis.from_url(redis_url).hset(ALIASES, "best", "of another version")
    warming.load(PLACE.job, best, is_latest=False)
    assert not is_anybody_asked(redis_url)
    (said,) = caplog.messages
    assert said.startswith(f"{PLACE.job}: samplers were not asked")


def test_unreachable_redis_does_not_keep_a_job_from_finishing(
    store: Store, best: CheckpointFact, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "worker.warming")
    greet(store, "sample-1")
    away = Warming(store, "redis://127.0.0.1:1/0", LONG_SECONDS)
    away.load(PLACE.job, best, is_latest=True)
    nowhere = Warming(Store("redis://127.0.0.1:1/0"), "redis://127.0.0.1:1/0", LONG_SECONDS)
    nowhere.load(PLACE.job, best, is_latest=False)
    assert not is_anybody_asked(redis_url)
    assert ["samplers were not asked" in said for said in caplog.messages] == [True, True]


def test_process_that_can_start_no_thread_does_not_keep_a_job_from_finishing(
    warming: Warming, best: CheckpointFact, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "worker.warming")
    with no_threads():
        warming.load(PLACE.job, best, is_latest=True)
    assert ["samplers were not asked" in said for said in caplog.messages] == [True]


def test_redis_that_hangs_delays_a_job_no_longer_than_a_dying_sampler(
    store: Store, best: CheckpointFact, monkeypatch: pytest.MonkeyPatch
) -> None:
    greet(store, "sample-1")
    monkeypatch.setattr("worker.store._REPLY_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        left = [*threading.enumerate()]
        Warming(store, url, patience_seconds=0.1).load(PLACE.job, best, is_latest=True)
        (asking,) = {*threading.enumerate()} - {*left}  # its caller does not wait for it
    asking.join(LONG_SECONDS)
    assert not asking.is_alive()
