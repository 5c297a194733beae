"""Nothing is missing, and nothing is forgotten, as long as Redis may not have all of the volume's records."""

import pytest

from contract import keys
from contract.control import control
from contract.forgetting import forget_job, since
from contract.job import State, Want
from contract.keys import RecordKind
from contract.reading import existence
from contract.rebuilding import leave_out
from contract.submitting import submit
from tests.contract.records import JOB, Records


def test_nothing_is_forgotten_in_another_epoch_than_the_one_that_was_looked_at(records: Records) -> None:
    records.submit()
    records.run(control(JOB, "job_a", Want.CANCEL))
    forgotten = since(records.redis.get(keys.EPOCH), forget_job("job_a"))
    records.redis.set(keys.EPOCH, "2")
    assert records.run(forgotten) == ("rebuilding", "")
    assert records.read().state is State.CANCELLED
    records.redis.set(keys.EPOCH, "1")
    assert records.run(forgotten) == ("forgotten", "cancelled")


def test_record_that_is_left_out_is_not_missing(records: Records) -> None:
    records.run(leave_out("job_a"))
    assert records.run(forget_job("job_a")) == ("rebuilding", "")
    assert records.run(existence("job_a", "")) == "left_out"


@pytest.mark.parametrize("name", ["job_a", "ds_a", "live", "sha256:0"])
def test_nothing_is_missing_while_it_may_be_restored(records: Records, name: str) -> None:
    assert records.run(existence(name, "")) == "missing"
    assert records.run(existence(name, "begun on another server")) == "rebuilding"
    for key, field in ((keys.ALIASES, "live"), (keys.IMPORTS, "sha256:0")):
        records.redis.hset(key, field, "{}")
    for kind, record_id in ((JOB, "job_a"), (RecordKind.DATASET, "ds_a")):
        records.run(submit(kind, record_id, "{}"))
    assert records.run(existence(name, "")) == "exists"
    records.redis.flushall()
    assert records.run(existence(name, "")) == "rebuilding"
