"""Records that stand, in a Redis that holds nothing else."""

import pytest

from contract.keys import EPOCH
from tests.contract.records import Records

pytest.register_assert_rewrite("tests.contract.laws")


@pytest.fixture
def records(redis_url: str) -> Records:
    records = Records(redis_url)
    records.redis.set(EPOCH, "1")
    return records
