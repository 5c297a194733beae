"""An owner whose facts are rejected, or whose child finds no room, waits and keeps its record."""

import errno
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import TypeVar

import pytest

from contract import owning, reaping
from contract.durable import replace_durably, write_durably
from contract.job import State, Want
from tests.worker.owner import JOB, LEASE_SECONDS, Worker
from worker import facts, room
from worker.facts import read_facts
from worker.set_aside import SET_ASIDE_SECONDS, SetAside

T = TypeVar("T")
FIRST, SECOND = "job_0000000000000001", "job_0000000000000002"
LONGER_MS = 1200 * LEASE_SECONDS
"""Longer than a lease."""


class Disk:
    """Replaces the function that writes facts, and can reject them."""

    def __init__(self) -> None:
        self.refuses = threading.Event()
        self.only = b""
        """Only files that contain this are rejected."""

    def write(self, path: Path, content: bytes) -> None:
        if self.refuses.is_set() and self.only in content:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_durably(path, content)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A full disk."""
    disk = Disk()
    disk.refuses.set()
    monkeypatch.setattr(facts, "replace_durably", disk.write)
    monkeypatch.setattr(room, "LONGEST_PAUSE_SECONDS", room.FIRST_PAUSE_SECONDS)
    return disk


def test_claim_without_room_waits_keeps_its_lease_and_goes_on(disk: Disk, worker: Worker) -> None:
    worker.submit(FIRST, SECOND)
    worker.start("finish")
    worker.until_it_waits(FIRST)
    claimed_until_ms = worker.records.read(FIRST).lease_until_ms or 0
    later_ms = claimed_until_ms + LONGER_MS
    worker.until(FIRST, lambda record: (record.lease_until_ms or 0) > later_ms)
    waiting, behind = worker.records.read(FIRST), worker.records.read(SECOND)
    assert (waiting.state, waiting.attempt) == (State.RUNNING, 1)
    assert (behind.state, behind.attempt) == (State.QUEUED, 0)
    assert worker.warnings(FIRST) == ["volume_full"]
    disk.refuses.clear()
    worker.finish()
    for job_id in (FIRST, SECOND):
        done = worker.records.read(job_id)
        assert (done.state, done.attempt, done.waiting_for) == (State.SUCCEEDED, 1, None)
    assert worker.warnings(FIRST) == ["volume_full", "volume_writable"]
    (over,) = (event["detail"] for event in worker.events(FIRST) if event.get("code") == "volume_writable")
    assert re.fullmatch(r"The wait for the volume is over after \d+ s\.", over)


def test_shortage_says_how_much_is_needed_and_where(disk: Disk, worker: Worker) -> None:
    worker.submit(FIRST)
    worker.start("finish")
    told = worker.until(FIRST, lambda record: record.waiting_for)
    assert told is not None
    assert told.code == "volume_full"
    assert told.needed_bytes > 0
    assert str(worker.volume.job(FIRST)) in told.detail
    disk.refuses.clear()


@pytest.mark.parametrize(
    ("want", "state"), [(Want.CANCEL, State.CANCELLED), (Want.PAUSE, State.PAUSED)], ids=str
)
def test_waiting_owner_obeys_what_is_wanted_and_writes_facts_once_there_is_room(
    disk: Disk, worker: Worker, want: Want, state: State
) -> None:
    worker.submit(FIRST)
    worker.start("finish")
    worker.until_it_waits(FIRST)
    worker.control(FIRST, want)
    worker.until(FIRST, lambda record: record.state is state)
    assert worker.records.read(FIRST).waiting_for is None
    worker.finish()
    worker.later.catch_up()
    assert read_facts(worker.volume, FIRST) is None
    disk.refuses.clear()
    worker.later.catch_up()
    stated = read_facts(worker.volume, FIRST)
    assert stated is not None
    assert stated.state is (State.CANCELLED if want is Want.CANCEL else State.QUEUED)


def test_waiting_owner_hands_back_its_record_when_its_worker_stops(disk: Disk, worker: Worker) -> None:
    worker.submit(FIRST)
    worker.start("finish")
    worker.until_it_waits(FIRST)
    worker.stop()
    assert worker.records.read(FIRST).state is State.QUEUED
    assert "volume_full" in worker.events(FIRST)[-1]["reason"]


@pytest.mark.parametrize("how", ["pause", "stop"])
def test_owner_of_a_claim_on_a_volume_that_is_away_hands_it_back(worker: Worker, how: str) -> None:
    """The volume went away after the last look at it, so the facts at the claim cannot be read."""
    worker.submit(FIRST)
    away = worker.volume.jobs.rename(worker.volume.root / "away")
    worker.start("finish", max_deaths=1)
    worker.until_it_waits(FIRST)
    if how == "pause":
        worker.control(FIRST, Want.PAUSE)
        worker.finish()
    worker.stop()
    left = worker.records.read(FIRST)
    assert (left.state, left.deaths) == (State.PAUSED if how == "pause" else State.QUEUED, 0)
    assert "volume_failing" in worker.events(FIRST)[-1]["reason"]
    worker.later.catch_up()
    away.rename(worker.volume.jobs)
    assert read_facts(worker.volume, FIRST) is None
    worker.later.catch_up()
    stated = read_facts(worker.volume, FIRST)
    assert stated is not None
    assert (stated.state, stated.token) == (State.QUEUED, left.token)


def test_owner_that_lost_its_record_stops_waiting_and_writes_no_facts(disk: Disk, worker: Worker) -> None:
    worker.submit(FIRST)
    worker.start("finish")
    worker.until_it_waits(FIRST)
    _, successor = worker.records.run_at_once(
        reaping.reap(JOB, max_deaths=3, owner="w0"), owning.claim(JOB, "w1", lease_seconds=60)
    )
    worker.finish()
    disk.refuses.clear()
    worker.later.catch_up()
    assert read_facts(worker.volume, FIRST) is None
    assert worker.records.read(FIRST).token == int(successor.token)


def test_child_does_not_count_as_hung_while_its_owner_waits(
    disk: Disk, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.only = b'"snapshot":{'
    worker.submit(FIRST)
    worker.start("save_and_finish", progress_deadline_seconds=100)
    worker.until_it_waits(FIRST)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 200)
    lease_ms = worker.records.read(FIRST).lease_until_ms or 0
    worker.until(FIRST, lambda record: (record.lease_until_ms or 0) > lease_ms)
    assert worker.records.read(FIRST).snapshot is None  # nothing is reported that is not on the volume
    disk.refuses.clear()
    worker.finish()
    done = worker.records.read(FIRST)
    assert (done.state, done.attempt, done.deaths) == (State.SUCCEEDED, 1, 0)
    assert done.snapshot is not None


def test_hung_child_is_killed_and_its_job_fails_after_too_many_deaths(worker: Worker) -> None:
    worker.submit(FIRST)
    worker.start("hang", progress_deadline_seconds=0.3, max_deaths=2)
    worker.finish()
    failed = worker.records.read(FIRST)
    assert (failed.state, failed.attempt, failed.deaths) == (State.FAILED, 2, 2)
    assert failed.error
    assert "said nothing for" in failed.error.detail


def test_silent_child_does_not_count_as_hung_while_the_volume_does_not_answer(worker: Worker) -> None:
    """It may hang in a read or write, of which no other thread can tell."""
    away = worker.volume.root / "away"

    def take_away(*_: object) -> tuple[str, str]:
        worker.volume.jobs.rename(away)
        worker.watch.look()
        return "tests.worker.small_work:hang", ""

    worker.submit(FIRST)
    worker.start("hang", take_away, progress_deadline_seconds=0.3, max_deaths=1)
    worker.until(FIRST, lambda _: worker.watch.trouble)
    lease_ms = worker.records.read(FIRST).lease_until_ms or 0
    worker.until(FIRST, lambda record: (record.lease_until_ms or 2 * lease_ms) > lease_ms + LONGER_MS)
    seen = worker.records.read(FIRST)
    assert (seen.state, seen.deaths) == (State.RUNNING, 0)
    away.rename(worker.volume.jobs)
    worker.watch.look()
    worker.finish()
    assert worker.records.read(FIRST).deaths == 1


def test_error_without_a_text_is_named_by_its_type(worker: Worker) -> None:
    worker.submit(FIRST)
    worker.start("crash", max_deaths=1)
    worker.finish()
    failed = worker.records.read(FIRST)
    assert failed.error
    assert failed.error.detail.endswith("; last: AssertionError")


def test_deferred_write_never_overrides_a_newer_owner(disk: Disk, worker: Worker) -> None:
    worker.submit(FIRST)
    worker.start("finish")
    worker.until_it_waits(FIRST)
    worker.control(FIRST, Want.PAUSE)
    worker.until(FIRST, lambda record: record.state is State.PAUSED)
    worker.finish()
    disk.refuses.clear()
    worker.control(FIRST, Want.RUN)
    worker.start("finish")
    worker.finish()
    worker.later.catch_up()
    stated = read_facts(worker.volume, FIRST)
    assert stated is not None
    assert stated.state is State.SUCCEEDED


def test_wait_of_a_child_is_reported_once(worker: Worker) -> None:
    worker.submit(FIRST)
    worker.start("wait_for_room")
    worker.until_it_waits(FIRST)
    lease_ms = worker.records.read(FIRST).lease_until_ms or 0
    worker.until(FIRST, lambda record: (record.lease_until_ms or 0) > lease_ms + LONGER_MS)
    assert worker.warnings(FIRST) == ["volume_full"]
    worker.control(FIRST, Want.CANCEL)
    worker.until(FIRST, lambda record: record.state is State.CANCELLED)


@pytest.mark.parametrize(("work", "stop_grace_seconds"), [("wait_for_room", 100), ("wait_and_block", 0.1)])
def test_waiting_child_is_paused_at_its_last_snapshot(
    worker: Worker, work: str, stop_grace_seconds: float
) -> None:
    worker.submit(FIRST)
    worker.start(work, stop_grace_seconds=stop_grace_seconds)
    worker.until_it_waits(FIRST)
    worker.control(FIRST, Want.PAUSE)
    worker.until(FIRST, lambda record: record.state is State.PAUSED)
    reason = worker.events(FIRST)[-1]["reason"]
    assert reason == (
        "paused on request; it resumes from its last snapshot, since the volume accepted no newer one"
        " (volume_full)"
    )


def test_job_with_unreadable_facts_fails_and_does_not_block_the_next(worker: Worker) -> None:
    worker.submit(FIRST, SECOND)
    worker.volume.facts(FIRST, 0).write_text('{"format_version": 2}')
    worker.start("finish", max_deaths=2)
    worker.finish()
    assert worker.records.read(SECOND).state == State.SUCCEEDED
    failed = worker.records.read(FIRST)
    assert (failed.state, failed.deaths) == (State.FAILED, 2)
    assert failed.error is not None
    assert "ValidationError" in failed.error.detail


def test_job_without_a_directory_fails_and_does_not_block_the_next(worker: Worker) -> None:
    worker.submit(FIRST, SECOND)
    shutil.rmtree(worker.volume.job(FIRST))
    worker.start("finish")
    worker.finish()
    assert worker.records.read(SECOND).state is State.SUCCEEDED
    failed = worker.records.read(FIRST)
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert "is gone from the volume" in failed.error.detail


def test_job_whose_directory_is_removed_while_it_runs_fails(worker: Worker) -> None:
    def remove(*_: object) -> tuple[str, str]:
        shutil.rmtree(worker.volume.job(FIRST))
        return "tests.worker.small_work:write", str(worker.volume.snapshot(FIRST, "file"))

    worker.submit(FIRST)
    worker.start("write", remove, max_deaths=1)
    worker.finish()
    failed = worker.records.read(FIRST)
    assert failed.error is not None
    assert "is gone from the volume" in failed.error.detail


def test_job_with_an_unwritable_directory_is_set_aside_and_does_not_block_the_next(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, content: bytes) -> None:
        if path.parent == worker.volume.job(FIRST):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        replace_durably(path, content)

    monkeypatch.setattr(facts, "replace_durably", write)
    worker.submit(FIRST, SECOND)
    worker.start("finish")
    worker.finish()
    assert worker.records.read(SECOND).attempt == 0  # the host may be at fault: one record per bell
    worker.ring()
    worker.finish()
    assert worker.records.read(SECOND).state is State.SUCCEEDED
    waiting = worker.records.read(FIRST)
    assert (waiting.state, waiting.attempt, waiting.deaths) == (State.QUEUED, 1, 0)
    assert "Permission denied" in worker.events(FIRST)[-1]["reason"]


def test_record_set_aside_is_retried_after_a_while() -> None:
    now = [0.0]
    aside = SetAside(lambda: now[0])
    aside.add(FIRST)
    assert aside.ids() == [FIRST]
    now[0] += SET_ASIDE_SECONDS
    assert not aside.ids()
