"""What every test may use: a real Redis, a volume, and the counts at which the laws are tested."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from contract.volume import Volume
from service.embedded_redis import RedisServer, transient_server

_LONGEST_FIRST = ("system", "worker", "models")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: else one of the processes that share the files is left alone with it."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.relative_to(Path(__file__).parent).parts[0], len(ranks)))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real redis-server for the whole session, without persistence."""
    server = transient_server(tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(server.command)
    try:
        assert is_up_within(20, server)
        yield server
    finally:
        process.terminate()
        process.wait()


def is_up_within(seconds: float, server: RedisServer) -> bool:
    """Whether it begins to answer by then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.is_up():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """That server, emptied."""
    redis.Redis.from_url(redis_server.url).flushall()
    return redis_server.url


def own_database(server: RedisServer, number: int) -> str:
    """The address of one of its databases, emptied: in the first a gateway of `tests/service` may be."""
    url = f"{server.url.removesuffix('/0')}/{number}"
    redis.Redis.from_url(url).flushdb()
    return url


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """An empty volume."""
    return Volume(tmp_path / "volume")


N = TypeVar("N", int, float)


def proof(small: N, named_by_the_issue: N) -> N:
    """A count: small in `make test`, the issue's in `make proof`. Or a bound that binds only there."""
    return named_by_the_issue if os.environ.get("DCGAN_PROOF") else small
