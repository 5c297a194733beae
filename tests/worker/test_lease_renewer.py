"""An owner that cannot send heartbeats keeps its record for a while: a slow disk is no death."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from contract.job import State
from contract.reaping import reap
from tests.contract.records import WholeRecord
from tests.worker.owner import JOB, Worker
from worker.facts import Ledger
from worker.settings import Settings

FIRST = "job_0000000000000001"

SlowDisk = Callable[[Callable[[WholeRecord], bool]], None]


@pytest.fixture(autouse=True)
def _frequent_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even under a lease so long that a thread of the test which is delayed does not look dead."""
    monkeypatch.setattr(Settings, "heartbeat_seconds", property(lambda _: 0.05))


@pytest.fixture
def slow_disk(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    """Writing the first facts takes until a condition holds."""

    def slow_down(condition: Callable[[WholeRecord], bool]) -> None:
        write, conditions = Ledger.write, iter([condition])

        def write_slowly(ledger: Ledger, update: Mapping[str, Any]) -> bool:
            for awaited in conditions:
                worker.until(FIRST, awaited)
            return write(ledger, update)

        monkeypatch.setattr(Ledger, "write", write_slowly)

    return slow_down


def test_lease_of_an_owner_blocked_by_its_disk_is_renewed(worker: Worker, slow_disk: SlowDisk) -> None:
    seen: set[int | None] = set()

    def is_renewed_twice(record: WholeRecord) -> bool:
        seen.add(record.lease_until_ms)
        return len(seen) > 2

    slow_disk(is_renewed_twice)
    worker.submit(FIRST)
    worker.start("finish", lease_seconds=60)
    worker.finish()
    record = worker.records.read(FIRST)
    assert (record.state, record.attempt, record.deaths) == (State.SUCCEEDED, 1, 0)
    assert len(seen) > 2


def test_owner_blocked_for_too_long_is_dead(worker: Worker, slow_disk: SlowDisk) -> None:
    def is_reaped(record: WholeRecord) -> bool:
        worker.records.run(reap(JOB, max_deaths=3))
        return record.deaths > 0

    slow_disk(is_reaped)
    worker.submit(FIRST)
    worker.start("finish", lease_seconds=0.3, progress_deadline_seconds=0.2)
    assert worker.until(FIRST, lambda record: record.deaths)
