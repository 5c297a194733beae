"""Records in an empty Redis."""

import pytest

from tests.contract.records import Records

pytest.register_assert_rewrite("tests.contract.laws")


@pytest.fixture
def records(redis_url: str) -> Records:
    return Records(redis_url)
