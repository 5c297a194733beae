"""Records that stand, in a Redis that holds nothing else."""

import pytest
import redis

from contract.keys import EPOCH
from service.embedded_redis import RedisServer
from tests.contract.records import Records

pytest.register_assert_rewrite("tests.contract.laws")


DATABASE = 2


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """A database of their own, emptied: in the first the gateway of `tests/service` may still be at work."""
    url = f"{redis_server.url.removesuffix('/0')}/{DATABASE}"
    redis.Redis.from_url(url).flushdb()
    return url


@pytest.fixture
def records(redis_url: str) -> Records:
    records = Records(redis_url)
    records.redis.set(EPOCH, "1")
    return records
