"""What owners state on the volume: durable, and fenced like the record."""

import pytest

from contract.job import Problem, State
from contract.store import Burial
from contract.volume import Volume
from worker.facts import Facts, read_facts, state_burial, write_facts

JOB = "job_0123456789abcdef"


@pytest.fixture
def volume(volume: Volume) -> Volume:
    volume.job(JOB).mkdir(parents=True)
    return volume


def facts(token: int, state: State = State.RUNNING) -> Facts:
    return Facts(state=state, token=token, attempt=1, created_us=1)


def test_owner_whose_token_is_old_states_nothing(volume: Volume) -> None:
    assert write_facts(volume, JOB, facts(2))
    assert not write_facts(volume, JOB, facts(1, State.SUCCEEDED))
    assert read_facts(volume, JOB) == facts(2)


def test_failure_by_death_is_stated_in_the_place_of_the_dead(volume: Volume) -> None:
    write_facts(volume, JOB, facts(2))
    state_burial(volume, Burial(JOB, State.FAILED, Problem(code="died_repeatedly", detail="x")))
    stated = read_facts(volume, JOB)
    assert stated is not None
    assert (stated.state, stated.error) == (State.FAILED, Problem(code="died_repeatedly", detail="x"))
    assert not write_facts(volume, JOB, facts(2, State.SUCCEEDED))


def test_burial_that_queues_again_states_nothing(volume: Volume) -> None:
    write_facts(volume, JOB, facts(2))
    state_burial(volume, Burial(JOB, State.QUEUED, None))
    assert read_facts(volume, JOB) == facts(2)


def test_what_a_killed_writer_left_goes_with_the_next_statement(volume: Volume) -> None:
    torn = volume.job(JOB) / ".facts.json.0123abcd.tmp"
    torn.write_text('{"state": "run')
    write_facts(volume, JOB, facts(1))
    assert not torn.exists()
