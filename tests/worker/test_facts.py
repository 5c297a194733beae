"""What owners state on the volume: durable, and fenced like the record."""

import shutil
from pathlib import Path

import pytest

from contract.durable import replace_durably
from contract.job import Failure, State
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


@pytest.mark.parametrize("stated_by", [None, 2, 7], ids=["nobody", "an owner before", "the dead one"])
def test_failure_by_death_is_stated_and_what_the_dead_one_states_later_is_not(
    volume: Volume, stated_by: int | None
) -> None:
    if stated_by:
        write_facts(volume, JOB, facts(stated_by))
    problem = Failure(code="died_repeatedly", detail="x")
    state_burial(volume, Burial(JOB, State.FAILED, problem, token=8, attempt=3, created_us=1))
    stated = read_facts(volume, JOB)
    assert stated is not None
    assert (stated.state, stated.error, stated.attempt) == (State.FAILED, problem, 3)
    assert not write_facts(volume, JOB, facts(7))
    assert read_facts(volume, JOB) == stated


def test_burial_that_queues_again_states_nothing(volume: Volume) -> None:
    write_facts(volume, JOB, facts(2))
    state_burial(volume, Burial(JOB, State.QUEUED, None, token=3, attempt=1, created_us=1))
    assert read_facts(volume, JOB) == facts(2)


def test_what_a_killed_writer_left_goes_with_the_next_owners_statement(volume: Volume) -> None:
    write_facts(volume, JOB, facts(1))
    torn = volume.job(JOB) / f".{volume.facts(JOB, 1).name}.0123abcd.tmp"
    torn.write_text('{"state": "run')
    write_facts(volume, JOB, facts(2))
    assert volume.all_facts(JOB) == [volume.facts(JOB, 2)]
    assert not torn.exists()


def test_owner_stopped_in_the_middle_of_a_statement_holds_up_nobody_and_is_not_heard(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its next owner states while it stands still, once before and once after it has written."""
    for written in (False, True):
        token = 10 if written else 1
        write_facts(volume, JOB, facts(token))

        def stopped(path: Path, content: bytes, written: bool = written, token: int = token) -> None:
            monkeypatch.undo()
            if written:
                replace_durably(path, content)
            assert write_facts(volume, JOB, facts(token + 1))
            if not written:
                replace_durably(path, content)

        monkeypatch.setattr("worker.facts.replace_durably", stopped)
        assert not write_facts(volume, JOB, facts(token, State.SUCCEEDED))
        assert read_facts(volume, JOB) == facts(token + 1)


def test_statement_whose_half_was_swept_up_by_the_next_owner_is_not_made(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def swept(path: Path, content: bytes) -> None:
        del path, content
        monkeypatch.undo()
        assert write_facts(volume, JOB, facts(2))
        raise FileNotFoundError

    monkeypatch.setattr("worker.facts.replace_durably", swept)
    assert not write_facts(volume, JOB, facts(1))
    assert read_facts(volume, JOB) == facts(2)


def test_record_that_was_deleted_takes_no_statement(volume: Volume) -> None:
    shutil.rmtree(volume.job(JOB))
    with pytest.raises(FileNotFoundError):
        write_facts(volume, JOB, facts(1))
    assert not volume.job(JOB).exists()
