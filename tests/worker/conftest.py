"""The workers' part of the session's Redis."""

import pytest
import redis

from service.embedded_redis import RedisServer

DATABASE = 1


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """A database of their own, emptied: in the other the gateway of `tests/service` is still at work."""
    url = f"{redis_server.url.rstrip('/')}/{DATABASE}"
    redis.Redis.from_url(url).flushdb()
    return url
