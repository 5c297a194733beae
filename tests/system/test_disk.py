"""The jobs' volume, a real one of a few megabytes, fills up or becomes read-only in the middle of a job.

Only `jobs/` is on it, because a Redis without room for its own log exits.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import proof
from tests.system.stack import ENDS_WITHIN_SECONDS, Stack, caught, until

IMAGES = proof(3200, 64000)
ENDLESS = 10**7
MEGABYTES = 48
WAITED_SECONDS = proof(30, 5)


class SmallDisk:
    """An in-memory file system, mounted at `place`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._ballast = place / "ballast"

    def mount(self) -> None:
        if shutil.which("mount") is None:
            pytest.skip("there is no mount program here")
        self.place.mkdir(parents=True)
        tried = self._run("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "dcgan-test", str(self.place))
        if tried.returncode:
            pytest.skip(f"a file system can be mounted by root alone: {tried.stderr.strip()}")

    def unmount(self) -> None:
        assert self._run("umount", str(self.place)).returncode == 0

    def fill(self) -> None:
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            while True:
                file.write(b"\0" * 4096)

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def make_read_only(self) -> None:
        """Remount read-only, once no process has a file open for writing."""
        until(lambda: self._remount("ro"), "a moment in which nobody writes")

    def make_writable(self) -> None:
        assert self._remount("rw")

    def _remount(self, mode: str) -> bool:
        return self._run("mount", "-o", f"remount,{mode}", str(self.place)).returncode == 0

    def _run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path_factory.mktemp("small") / "data" / "jobs")
    disk.mount()
    yield disk
    disk.unmount()


@pytest.fixture(scope="module")
def running(mounted: SmallDisk) -> Iterator[Stack]:
    """A stack whose jobs are on that disk."""
    stack = Stack(mounted.place.parent).start()
    yield stack
    stack.stop()


@pytest.fixture
def disk(mounted: SmallDisk, running: Stack) -> Iterator[SmallDisk]:
    """The disk, made writable and freed after the test, whatever its outcome."""
    drop_snapshots(mounted)
    yield mounted
    mounted.make_writable()
    mounted.empty()


def drop_snapshots(disk: SmallDisk) -> None:
    """Drop those of earlier jobs, which a trainer would drop within a minute.

    If that happened once the disk is full, their room would be enough for a job to go on.
    """
    for directory in disk.place.glob("*/resume"):
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def undisturbed(running: Stack) -> bytes:
    """The weights that the job yields when nothing happens."""
    job = running.train(images=IMAGES)
    running.await_state(job, "succeeded")
    return running.weights(job)


def job_with_a_snapshot(stack: Stack, images: int = IMAGES) -> str:
    job = stack.train(images=images)
    until(lambda: stack.snapshots(job), "a snapshot")
    return job


def job_that_meets(code: str, stack: Stack, disk: SmallDisk) -> str:
    """A job to whose disk this happens after a snapshot, and before the last one."""
    begin, end = HAPPENINGS[code]

    def attempt() -> str | None:
        job = job_with_a_snapshot(stack)
        begin(disk)
        if not stack.is_over(job):
            return job
        end(disk)
        stack.await_state(job, "succeeded")
        drop_snapshots(disk)
        return None

    return caught(attempt, "a job in training")


def await_waiting(stack: Stack, job: str) -> Any:
    return until(lambda: stack.job(job)["waiting_for"], f"{job} that waits for room")


def warnings(stack: Stack, job: str) -> list[str]:
    return [event["data"]["code"] for event in stack.events(job) if event["type"] == "warning"]


HAPPENINGS: dict[str, tuple[Callable[[SmallDisk], None], Callable[[SmallDisk], None]]] = {
    "volume_full": (SmallDisk.fill, SmallDisk.empty),
    "volume_read_only": (SmallDisk.make_read_only, SmallDisk.make_writable),
}


@pytest.mark.parametrize("code", HAPPENINGS)
def test_job_waits_reports_what_it_needs_and_ends_with_the_same_bits(
    running: Stack, undisturbed: bytes, disk: SmallDisk, code: str
) -> None:
    _, end = HAPPENINGS[code]
    job = job_that_meets(code, running, disk)
    needed = await_waiting(running, job)
    told = running.job(job)
    assert needed["code"] == code
    assert needed["needed_bytes"] > 0  # for a snapshot, or for the facts of something it reported
    assert (needed["free_bytes"] < needed["needed_bytes"]) == (code == "volume_full")
    assert str(running.root / "jobs" / job) in needed["detail"]
    assert (told["state"], told["stalled"], told["estimated_finish"]) == ("running", False, None)
    assert warnings(running, job) == [code]
    before = running.snapshots(job)
    end(disk)
    done = running.await_state(job, "succeeded")
    assert (done["attempt"], done["waiting_for"]) == (1, None)
    assert warnings(running, job) == [code, "volume_writable"]
    assert before
    assert running.weights(job) == undisturbed
    assert not [*disk.place.rglob("*.tmp")]
    assert_complete_mirror(running, job)


def assert_complete_mirror(stack: Stack, job: str) -> None:
    events = [event["id"] for event in stack.events(job)]
    assert events == list(range(1, len(events) + 1))
    log = stack.root / "jobs" / job / "events.jsonl"
    until(lambda: len(log.read_text().splitlines()) == len(events), "every event on the volume")
    assert [json.loads(line)["id"] for line in log.read_text().splitlines()] == events


def test_snapshot_from_before_the_disk_filled_up_is_intact(
    running: Stack, undisturbed: bytes, disk: SmallDisk
) -> None:
    job = job_that_meets("volume_full", running, disk)
    await_waiting(running, job)
    saved = running.snapshots(job)
    assert saved
    running.training_child().kill()
    until(lambda: running.job(job)["attempt"] == 2, "another child")
    assert await_waiting(running, job)["code"] == "volume_full"
    disk.empty()
    running.await_state(job, "succeeded")
    assert "snapshot_unreadable" not in warnings(running, job)
    assert running.weights(job) == undisturbed


def test_waiting_job_is_cancelled_at_once_and_the_volume_is_updated_later(
    running: Stack, disk: SmallDisk
) -> None:
    job = job_with_a_snapshot(running, ENDLESS)
    disk.fill()
    await_waiting(running, job)
    child = running.training_child()
    running.http.post(f"/jobs/{job}/cancel").raise_for_status()
    told = running.await_state(job, "cancelled", seconds=WAITED_SECONDS)
    assert told["waiting_for"] is None
    until(lambda: not child.is_running(), "the end of the child")
    disk.empty()
    until(lambda: stated(running, job, "facts-*.json")["state"] == "cancelled", "facts on the volume")
    until(lambda: stated(running, job, "intent.json")["want"] == "cancel", "the intent on the volume")
    assert_complete_mirror(running, job)


def stated(stack: Stack, job: str, file: str) -> Any:
    found = sorted((stack.root / "jobs" / job).glob(file))
    return json.loads(found[-1].read_bytes()) if found else {"want": None}


def test_waiting_job_is_paused_at_its_last_snapshot(
    running: Stack, undisturbed: bytes, disk: SmallDisk
) -> None:
    job = job_that_meets("volume_full", running, disk)
    await_waiting(running, job)
    running.http.post(f"/jobs/{job}/pause").raise_for_status()
    running.await_state(job, "paused", seconds=WAITED_SECONDS)
    assert "from its last snapshot" in running.events(job)[-1]["data"]["reason"]
    disk.empty()
    running.http.post(f"/jobs/{job}/resume").raise_for_status()
    running.await_state(job, "succeeded")
    assert running.weights(job) == undisturbed


def test_job_claimed_on_a_full_volume_waits_and_the_next_one_stays_queued(
    running: Stack, disk: SmallDisk
) -> None:
    job = job_with_a_snapshot(running, ENDLESS)
    second, third = running.train(), running.train()
    disk.fill()
    await_waiting(running, job)
    running.http.post(f"/jobs/{job}/cancel").raise_for_status()
    assert await_waiting(running, second)["code"] == "volume_full"
    waiting, behind = running.job(second), running.job(third)
    assert (waiting["state"], waiting["attempt"]) == ("running", 1)
    assert (behind["state"], behind["attempt"], behind["queue_position"]) == ("queued", 0, 1)
    disk.empty()
    for one in (second, third):
        assert running.await_state(one, "succeeded")["attempt"] == 1


def test_stack_ends_in_time_and_requeues_a_waiting_job(running: Stack, disk: SmallDisk) -> None:
    job = job_with_a_snapshot(running, ENDLESS)
    disk.fill()
    await_waiting(running, job)
    assert running.stop() < ENDS_WITHIN_SECONDS
    disk.empty()
    running.start()
    images_seen = int(running.snapshots(job)[-1].name.partition("-")[0])
    told = running.await_images(job, images_seen + 64)
    assert told["attempt"] == 2
    running.http.post(f"/jobs/{job}/cancel").raise_for_status()
    running.await_state(job, "cancelled")
