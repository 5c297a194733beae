"""A Redis that has reached its maxmemory: what it holds can be read and removed, and what runs goes on."""

from collections.abc import Iterator

import pytest
from redis.exceptions import OutOfMemoryError

from contract import store
from contract.alias import AliasRecord
from contract.job import Want
from contract.keys import ALIASES, RecordKind
from contract.pointing import meanings, point
from contract.reading import look_up
from tests.contract.records import JOB, Records
from tests.contract.test_pointing import meaning

ENDED, RUNNING, QUEUED = "job_" + "a" * 16, "job_" + "b" * 16, "job_" + "c" * 16


@pytest.fixture
def lease(records: Records) -> Iterator[store.Lease]:
    """In a full Redis with a dataset and a job that ended, a queued job, and a running one: its lease."""
    records.run(store.submit(RecordKind.DATASET, "ds_a", "{}"))
    records.run(store.control(RecordKind.DATASET, "ds_a", Want.CANCEL))
    records.submit(ENDED)
    records.run(store.control(JOB, ENDED, Want.CANCEL))
    records.run(point("a", AliasRecord(now=meaning(ENDED)), expected=0))
    records.submit(RUNNING)
    lease = records.claim()
    records.submit(QUEUED)
    records.redis.config_set("maxmemory", 1)
    with pytest.raises(OutOfMemoryError):
        records.redis.set("x", "")
    yield lease
    records.redis.config_set("maxmemory", 0)


@pytest.mark.usefixtures("lease")
def test_records_and_aliases_can_be_read(records: Records) -> None:
    sight = records.run(look_up(JOB, [QUEUED, "job_missing", ENDED]))
    assert [fields.get("state") for fields, _ in sight.rows] == ["queued", None, "cancelled"]
    assert records.run(store.turns(JOB)) == (sight.turns, (QUEUED,))
    assert records.run(meanings("a")) == AliasRecord(now=meaning(ENDED))
    assert records.run(meanings("b")) is None


@pytest.mark.usefixtures("lease")
def test_what_has_ended_can_be_forgotten(records: Records) -> None:
    records.redis.delete(ALIASES)
    assert records.run(store.forget_dataset("ds_a"))[0] == "forgotten"
    assert records.run(store.forget_job(ENDED))[0] == "forgotten"
