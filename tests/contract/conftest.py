"""Records in an empty Redis."""

import pytest

from tests.contract.records import Records


@pytest.fixture
def records(redis_url: str) -> Records:
    return Records(redis_url)
