"""Cancel, pause and resume make only allowed transitions, are idempotent and never get lost."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from contract import owning, reaping
from contract.command import Command
from contract.control import control
from contract.job import TRANSITIONS, Failure, State, Want
from contract.owning import Lease
from tests.contract.record_model import REST
from tests.contract.records import JOB, Records


@pytest.mark.parametrize(("want", "state"), [(Want.CANCEL, State.CANCELLED), (Want.PAUSE, State.PAUSED)])
def test_record_goes_to_the_wanted_state_when_its_owner_dies_or_releases_it(
    records: Records, want: Want, state: State
) -> None:
    ways: dict[str, Callable[[Lease], Command[Any]]] = {
        "job_dead": lambda lease: reaping.died(lease, "x", 3),
        "job_back": lambda lease: owning.leave(lease, State.QUEUED),
    }
    for name, let_go in ways.items():
        records.submit(name)
        lease = records.claim()
        assert records.run(control(JOB, name, want)) == ("accepted", "running")
        assert records.run(owning.beat(lease)) == want
        records.run(let_go(lease))
        assert records.read(name).state == state


def test_cancel_overrides_a_pause_in_progress(records: Records) -> None:
    records.submit()
    lease = records.claim()
    records.run(control(JOB, "job_a", Want.PAUSE))
    assert records.run(owning.beat(lease)) == Want.PAUSE
    records.run(control(JOB, "job_a", Want.CANCEL))
    records.run(owning.leave(lease, State.QUEUED, reason="paused on request"))
    assert records.read().state == State.CANCELLED


def _to_queued(records: Records) -> None:
    records.submit()


def _to_running(records: Records) -> None:
    records.submit()
    records.claim()


def _to_paused(records: Records) -> None:
    records.submit()
    records.run(control(JOB, "job_a", Want.PAUSE))


def _to_cancelled(records: Records) -> None:
    records.submit()
    records.run(control(JOB, "job_a", Want.CANCEL))


def _to_succeeded(records: Records) -> None:
    records.submit()
    records.run(owning.leave(records.claim(), State.SUCCEEDED))


def _to_failed(records: Records) -> None:
    records.submit()
    records.run(owning.leave(records.claim(), State.FAILED, error=Failure(code="x", detail="y")))


REACH: dict[State, Callable[[Records], None]] = {
    State.QUEUED: _to_queued,
    State.RUNNING: _to_running,
    State.PAUSED: _to_paused,
    State.CANCELLED: _to_cancelled,
    State.SUCCEEDED: _to_succeeded,
    State.FAILED: _to_failed,
}


@pytest.mark.parametrize(("start", "want"), [*itertools.product(State, Want)])
def test_control_makes_only_allowed_transitions(records: Records, start: State, want: Want) -> None:
    REACH[start](records)
    outcome, _ = records.run(control(JOB, "job_a", want))
    record = records.read()
    assert record.state == start or record.state in TRANSITIONS[start]
    if start.is_terminal:
        idempotent = (start, want) == (State.CANCELLED, Want.CANCEL)
        assert (outcome, record.state) == ("accepted" if idempotent else "conflict", start)
    elif start is State.RUNNING:
        assert (outcome, record.state, record.want) == ("accepted", start, want)
    else:
        assert (outcome, record.state) == ("accepted", REST[want])


@pytest.mark.parametrize("want", list(Want))
def test_control_is_idempotent(records: Records, want: Want) -> None:
    records.submit()
    first = records.run(control(JOB, "job_a", want))
    revision = records.read().revision
    assert records.run(control(JOB, "job_a", want)) == first
    assert records.read().revision == revision


def test_pausing_a_job_that_is_being_cancelled_conflicts(records: Records) -> None:
    _to_running(records)
    records.run(control(JOB, "job_a", Want.CANCEL))
    assert records.run(control(JOB, "job_a", Want.PAUSE)) == ("conflict", "cancelling")


def test_resume_revokes_a_pause_that_has_not_taken_effect(records: Records) -> None:
    records.submit()
    lease = records.claim()
    records.run(control(JOB, "job_a", Want.PAUSE))
    records.run(control(JOB, "job_a", Want.RUN))
    assert records.run(owning.beat(lease)) == Want.RUN
