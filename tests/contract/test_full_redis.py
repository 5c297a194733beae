"""A Redis that has reached its maxmemory: what it holds can be read and removed, and what runs goes on."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError, ResponseError

from contract import owning, reaping
from contract.alias import AliasRecord
from contract.command import Command
from contract.control import control
from contract.deliveries import Bounds, settle_delivery, take_deliveries
from contract.events import EventType
from contract.forgetting import forget_dataset, forget_job
from contract.job import Progress, State, Want
from contract.keys import ALIASES, RecordKind
from contract.owning import Verdict
from contract.pointing import meanings, point
from contract.reading import look_up
from contract.submitting import submit
from contract.turns import turns
from contract.workers import hello, workers
from tests.contract.records import JOB, Records
from tests.contract.sight import look
from tests.contract.test_pointing import meaning

ENDED, RUNNING, QUEUED = "job_" + "a" * 16, "job_" + "b" * 16, "job_" + "c" * 16


@pytest.fixture
def lease(records: Records) -> Iterator[owning.Lease]:
    """In a full Redis with a dataset and a job that ended, a queued job, and a running one: its lease."""
    records.run(submit(RecordKind.DATASET, "ds_a", "{}"))
    records.run(control(RecordKind.DATASET, "ds_a", Want.CANCEL))
    records.submit(ENDED)
    records.run(control(JOB, ENDED, Want.CANCEL))
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
    assert records.run(turns(JOB)) == (sight.turns, (QUEUED,))
    assert records.run(meanings("a")) == AliasRecord(now=meaning(ENDED))
    assert records.run(meanings("b")) is None


@pytest.mark.usefixtures("lease")
def test_what_has_ended_can_be_forgotten(records: Records) -> None:
    records.redis.delete(ALIASES)
    assert records.run(forget_dataset("ds_a"))[0] == "forgotten"
    assert records.run(forget_job(ENDED))[0] == "forgotten"


def test_owner_goes_on_and_finishes(records: Records, lease: owning.Lease) -> None:
    assert records.run(owning.beat(lease, Progress(done=1, total=2))) is Want.RUN
    assert records.run(owning.report(lease, 1, fields={"deaths": "0"})) is Verdict.ACCEPTED
    assert records.run(owning.report(lease, 2, event=(EventType.WARNING, {}))) is Verdict.ACCEPTED
    assert records.run(owning.leave(lease, State.SUCCEEDED)) is Verdict.ACCEPTED
    assert records.read(RUNNING).state is State.SUCCEEDED


def test_running_job_can_be_cancelled(records: Records, lease: owning.Lease) -> None:
    assert records.run(control(JOB, RUNNING, Want.CANCEL)) == ("accepted", "running")
    assert records.run(owning.beat(lease)) is Want.CANCEL


def test_dead_owners_are_buried(records: Records, lease: owning.Lease) -> None:
    assert isinstance(records.run(reaping.died(lease, "killed", 3)), reaping.Burial)
    assert records.read(RUNNING).state is State.QUEUED


@pytest.mark.usefixtures("lease")
def test_jobs_of_a_restarted_worker_are_queued_again(records: Records) -> None:
    assert [one.id for one in records.run(reaping.reap(JOB, max_deaths=3, owner="w0"))] == [RUNNING]


@pytest.mark.usefixtures("lease")
def test_workers_stay_known(records: Records) -> None:
    assert records.run(hello("w0", {"role": "train"}, 60)) is None
    assert records.run(workers()) == [{"role": "train"}]


@pytest.mark.usefixtures("lease")
def test_ends_of_jobs_are_delivered(records: Records) -> None:
    bounds = Bounds(own=1, receiver=1, submitter=1)
    (delivery,) = records.run(take_deliveries(bounds, lease_seconds=60, under_way=[]))
    assert records.run(settle_delivery(delivery, None, retry_seconds=60))


@pytest.mark.usefixtures("lease")
def test_new_work_is_refused_and_nothing_of_it_stays(records: Records) -> None:
    before = look(records, [RUNNING, QUEUED, "job_new"])
    new: list[Command[Any]] = [submit(JOB, "job_new", "{}"), owning.claim(JOB, "w1", lease_seconds=60)]
    for command in new:
        with pytest.raises(ResponseError, match="OOM"):
            records.run(command)
    assert look(records, [RUNNING, QUEUED, "job_new"]) == before
