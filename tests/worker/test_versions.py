"""Workers of several versions share a queue: what only a newer one knows stops no older one."""

import json
from typing import Any

import pytest

from contract.job import Record, SnapshotFact, State
from contract.keys import KEYS
from contract.submitting import submit
from tests.worker.owner import JOB, Worker
from worker.facts import Facts, read_facts, write_facts
from worker.orders import PreparingOrder
from worker.settings import Settings

FIRST, SECOND = "job_0000000000000001", "job_0000000000000002"


def write(worker: Worker, field: str, value: str) -> None:
    worker.records.redis.hset(KEYS[JOB].record_of + FIRST, field, value)


def read_spec(record: Record, facts: Facts) -> tuple[str, str]:
    order = PreparingOrder.for_record(record, facts, Settings())
    return "tests.worker.small_work:finish", order.model_dump_json()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from_a_newer_version", "1"),
        ("snapshot", '{"file": "f", "images_seen": 1, "from_a_newer_version": 1}'),
        ("told", '{"outcome": null, "at_ms": 1, "from_a_newer_version": 1}'),
    ],
)
def test_record_with_a_field_of_a_newer_version_is_worked_on(worker: Worker, field: str, value: str) -> None:
    worker.submit(FIRST)
    write(worker, field, value)
    worker.start("finish")
    worker.finish()
    assert worker.records.read(FIRST).state is State.SUCCEEDED


def test_facts_with_a_field_of_a_newer_version_stop_no_worker(worker: Worker) -> None:
    worker.submit(FIRST)
    snapshot = SnapshotFact(file="f", images_seen=1)
    stated = Facts(state=State.RUNNING, token=0, attempt=1, created_us=1, snapshot=snapshot)
    write_facts(worker.volume, FIRST, stated)
    path = worker.volume.facts(FIRST, 0)
    told: dict[str, Any] = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"from_a_newer_version": 1}))
    worker.start("finish")
    worker.finish()
    done = worker.records.read(FIRST)
    assert (done.state, done.deaths) == (State.SUCCEEDED, 0)


def test_unreadable_record_fails_on_the_volume_too_and_does_not_block_the_next(worker: Worker) -> None:
    worker.submit(FIRST, SECOND)
    write(worker, "progress", "{")
    worker.start("finish", max_deaths=2)
    worker.finish()
    assert worker.records.read(SECOND).state is State.SUCCEEDED
    assert worker.records.redis.hget(KEYS[JOB].record_of + FIRST, "state") == State.FAILED
    worker.later.catch_up()
    stated = read_facts(worker.volume, FIRST)
    assert stated is not None
    assert (stated.state, stated.error and stated.error.code) == (State.FAILED, "died_repeatedly")


def test_spec_of_a_newer_version_is_left_to_one_without_counting_a_death(worker: Worker) -> None:
    for job_id, spec in ((FIRST, {"bytes": 1, "from_a_newer_version": 1}), (SECOND, {"bytes": 1})):
        worker.volume.job(job_id).mkdir(parents=True)
        worker.records.run(submit(JOB, job_id, json.dumps(spec)))
    worker.start("finish", read_spec)
    worker.finish()
    assert worker.records.read(SECOND).state is State.SUCCEEDED
    waiting = worker.records.read(FIRST)
    assert (waiting.state, waiting.attempt, waiting.deaths) == (State.QUEUED, 1, 0)
    assert "from_a_newer_version" in worker.events(FIRST)[-1]["reason"]
