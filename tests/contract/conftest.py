"""An empty Redis database, and records in it that accept commands."""

import pytest

from contract.keys import EPOCH
from service.embedded_redis import RedisServer
from tests.conftest import own_database
from tests.contract.records import Records

pytest.register_assert_rewrite("tests.contract.laws")


DATABASE = 2


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return own_database(redis_server, DATABASE)


@pytest.fixture
def records(redis_url: str) -> Records:
    records = Records(redis_url)
    records.redis.set(EPOCH, "1")
    return records
