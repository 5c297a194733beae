"""Fixtures of the worker tests, which have a database of their own in the session's Redis."""

from collections.abc import Callable, Iterator

import pytest
import redis

from contract.volume import Volume
from models.environment import detect
from service.embedded_redis import RedisServer
from tests.conftest import own_database
from tests.worker.asking import Gateway, save_generator
from tests.worker.clock import Clock
from tests.worker.owner import Worker
from tests.worker.passes import Passes
from worker.engine import Engine
from worker.rebuild import Rebuilder
from worker.sampling import SampleConsumer
from worker.slices import Slices
from worker.store import Store

DATABASE = 1


@pytest.fixture(autouse=True)
def _short_pops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten blocking pops: between two, a thread checks whether to stop, and tests wait for that."""
    monkeypatch.setattr("worker.sampling.POP_SECONDS", 0.1)
    monkeypatch.setattr("worker.request_server.POP_SECONDS", 0.1)


@pytest.fixture(autouse=True)
def _patience_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis shares the machine's cores with other tests: where it is not away, a late reply is no error."""
    monkeypatch.setattr("worker.store._REPLY_SECONDS", 60)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return own_database(redis_server, DATABASE)


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url, decode_responses=True)


@pytest.fixture
def store(redis_url: str) -> Store:
    return Store(redis_url)


@pytest.fixture
def rebuilder(store: Store, volume: Volume) -> Rebuilder:
    return Rebuilder(store, volume, "w0", lease_seconds=60)


@pytest.fixture
def gateway(redis_url: str, volume: Volume) -> Gateway:
    return Gateway(redis_url, save_generator(volume))


@pytest.fixture
def engine(volume: Volume) -> Engine:
    environment = detect("cpu", 1, "float32")
    environment.apply()
    return Engine(volume, environment, 2**30)


@pytest.fixture
def start(redis_url: str) -> Iterator[Callable[..., SampleConsumer]]:
    """Starts a consumer, which takes everything pushed before as one batch."""
    started: list[SampleConsumer] = []

    def start(engine: Engine, name: str = "sample-1") -> SampleConsumer:
        consumer = SampleConsumer(name, redis_url, engine, "ours", 64)
        started.append(consumer)
        consumer.adopt("ours")
        consumer.start()
        return consumer

    yield start
    for consumer in started:
        consumer.stop()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    """Every pass of a heavy portion is followed by a pause, so that nothing depends on the clock."""
    monkeypatch.setattr(Slices, "is_over", True)
    monkeypatch.setattr(Slices, "endanger", lambda *_: False)
    made = Passes()
    monkeypatch.setattr("worker.sampling.render", made.render)
    yield made
    assert not made.calls


@pytest.fixture
def worker(redis_url: str, volume: Volume) -> Iterator[Worker]:
    worker = Worker(redis_url, volume)
    yield worker
    worker.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()
