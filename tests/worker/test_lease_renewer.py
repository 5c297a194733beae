"""An owner that cannot send heartbeats keeps its record for a while: a slow disk is no death."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from contract.job import State
from contract.reaping import reap
from tests.worker.owner import JOB, Worker
from worker.facts import Ledger

FIRST = "job_0000000000000001"
LEASE_SECONDS = 2.0
"""Long enough that a busy machine that delays this thread does not make it look dead."""


@pytest.fixture
def slow_disk(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing the first facts takes two leases, while another worker reaps."""
    write, is_first = Ledger.write, iter([True])

    def write_slowly(ledger: Ledger, update: Mapping[str, Any]) -> bool:
        for _ in range(8 if next(is_first, False) else 0):
            threading.Event().wait(LEASE_SECONDS / 4)
            worker.records.run(reap(JOB, max_deaths=3))
        return write(ledger, update)

    monkeypatch.setattr(Ledger, "write", write_slowly)


def test_owner_blocked_by_its_disk_for_longer_than_a_lease_is_not_dead(
    worker: Worker, slow_disk: None
) -> None:
    worker.submit(FIRST)
    worker.start("finish", lease_seconds=LEASE_SECONDS)
    worker.finish()
    record = worker.records.read(FIRST)
    assert (record.state, record.attempt, record.deaths) == (State.SUCCEEDED, 1, 0)


def test_owner_blocked_for_too_long_is_dead(worker: Worker, slow_disk: None) -> None:
    worker.submit(FIRST)
    worker.start("finish", lease_seconds=LEASE_SECONDS, progress_deadline_seconds=LEASE_SECONDS / 2)
    assert worker.until(FIRST, lambda record: record.deaths)
