"""Facts that owners write to the volume are durable, and fenced like the record."""

import shutil
from pathlib import Path

import pytest

from contract.durable import replace_durably
from contract.job import Failure, State
from contract.reaping import Burial
from contract.volume import Volume
from worker.facts import Facts, read_facts, write_burial, write_facts

JOB = "job_0123456789abcdef"


@pytest.fixture
def volume(volume: Volume) -> Volume:
    volume.job(JOB).mkdir(parents=True)
    return volume


def facts(token: int, state: State = State.RUNNING) -> Facts:
    return Facts(state=state, token=token, attempt=1, created_us=1)


def test_owner_with_an_old_token_writes_no_facts(volume: Volume) -> None:
    assert write_facts(volume, JOB, facts(2))
    assert not write_facts(volume, JOB, facts(1, State.SUCCEEDED))
    assert read_facts(volume, JOB) == facts(2)


@pytest.mark.parametrize("stated_by", [None, 2, 7], ids=["nobody", "an owner before", "the dead one"])
def test_failure_by_death_is_written_and_supersedes_later_facts_of_the_dead_owner(
    volume: Volume, stated_by: int | None
) -> None:
    if stated_by:
        write_facts(volume, JOB, facts(stated_by))
    problem = Failure(code="died_repeatedly", detail="x")
    write_burial(volume, Burial(JOB, State.FAILED, problem, token=8, attempt=3, created_us=1))
    stated = read_facts(volume, JOB)
    assert stated is not None
    assert (stated.state, stated.error, stated.attempt) == (State.FAILED, problem, 3)
    assert not write_facts(volume, JOB, facts(7))
    assert read_facts(volume, JOB) == stated


def test_burial_that_requeues_the_record_writes_no_facts(volume: Volume) -> None:
    write_facts(volume, JOB, facts(2))
    write_burial(volume, Burial(JOB, State.QUEUED, None, token=3, attempt=1, created_us=1))
    assert read_facts(volume, JOB) == facts(2)


def test_facts_of_the_next_owner_replace_what_a_killed_writer_left(volume: Volume) -> None:
    write_facts(volume, JOB, facts(1))
    torn = volume.job(JOB) / f".{volume.facts(JOB, 1).name}.0123abcd.tmp"
    torn.write_text('{"state": "run')
    write_facts(volume, JOB, facts(2))
    assert volume.all_facts(JOB) == [volume.facts(JOB, 2)]
    assert not torn.exists()


def test_owner_suspended_while_writing_facts_blocks_no_other_and_is_superseded(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next owner writes its facts meanwhile, once before and once after the suspended one has."""
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


def test_write_is_superseded_if_the_next_owner_deletes_its_temporary_file(
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


def test_facts_of_a_deleted_record_are_not_written(volume: Volume) -> None:
    shutil.rmtree(volume.job(JOB))
    with pytest.raises(FileNotFoundError):
        write_facts(volume, JOB, facts(1))
    assert not volume.job(JOB).exists()
