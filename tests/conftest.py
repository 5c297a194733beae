"""Fixtures and helpers for all tests: a real Redis, a volume, and counts that `make proof` raises."""

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
    """Run the slowest directories first, so that no xdist worker is left alone with one at the end."""
    ranks = {name: rank for rank, name in enumerate(_LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.relative_to(Path(__file__).parent).parts[0], len(ranks)))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real redis-server for the whole session, without persistence."""
    server = transient_server(tmp_path_factory.mktemp("redis"))
    process = subprocess.Popen(server.command, cwd=server.directory)
    try:
        assert is_up_within(60, server)
        yield server
    finally:
        process.terminate()
        process.wait()


def is_up_within(seconds: float, server: RedisServer) -> bool:
    """Whether the server starts to answer within this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.is_up():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of that server, emptied."""
    redis.Redis.from_url(redis_server.url, socket_timeout=60).flushall()
    return redis_server.url


def own_database(server: RedisServer, number: int) -> str:
    """The URL of one of its databases, emptied. A gateway of `tests/service` may be using the first."""
    url = f"{server.url.removesuffix('/0')}/{number}"
    redis.Redis.from_url(url, socket_timeout=60).flushdb()
    return url


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    """An empty volume."""
    volume = Volume(tmp_path / "volume")
    volume.lay_out()
    return volume


N = TypeVar("N", int, float)


def proof(small: N, named_by_the_issue: N) -> N:
    """A count: small in `make test`, the issue's in `make proof`. Or a bound that is enforced only there."""
    return named_by_the_issue if os.environ.get("DCGAN_PROOF") else small
