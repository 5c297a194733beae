"""At each crash point of a job its process is killed, or stopped until another has replaced it.

All cases share one stack with two trainers. Whatever happens, the job succeeds exactly once, with the same
bits, and leaves no stray files behind.
"""

import hashlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import proof
from tests.system.inside import crash_points
from tests.system.inside.crash_points import POINTS
from tests.system.stack import BRIEF_LEASE_SECONDS, REPOSITORY, Stack, until

KILL, STOP = signal.SIGKILL, signal.SIGSTOP
INSIDE = Path(crash_points.__file__).parent
SPEC: dict[str, Any] = {"images": 3200, "checkpoint_every_images": 800, "preview_every_images": 1600}
MOST_TELLING = (
    ("after claim, before facts", STOP),
    ("snapshot in facts, before Redis", KILL),
    ("in the write of a snapshot", KILL),
    ("checkpoint in facts, before Redis", KILL),
    ("before leave", KILL),
)
LATER = {"snapshot in Redis, old ones still there": 3}
"""Points at which something happens only the n-th time that they are reached."""
SUPERVISORS = [
    name
    for name, point in POINTS.items()
    if point.module in ("worker.account", "worker.outbox", "worker.leftovers")
]
"""Points in the supervisor, which loses the lease when it is stopped. A child has no lease."""
STOPPABLE = [name for name in SUPERVISORS if name != "after leave, before the next claim"]
ALL = [*MOST_TELLING, *((name, KILL) for name in POINTS), *((name, STOP) for name in STOPPABLE)]
CASES = list(dict.fromkeys(ALL))[: proof(len(MOST_TELLING), len(ALL))]


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which points are armed."""
    return tmp_path_factory.mktemp("crashes")


@pytest.fixture(scope="module")
def trainers(tmp_path_factory: pytest.TempPathFactory, crashes: Path) -> Iterator[Stack]:
    """A stack with two trainers that obey the armed points."""
    inside = {"PYTHONPATH": f"{INSIDE}:{REPOSITORY}", crash_points.DIRECTORY: str(crashes)}
    root = tmp_path_factory.mktemp("trainers") / "data"
    stack = Stack(root, "--trainers", "2", environment=inside, lease_seconds=BRIEF_LEASE_SECONDS).start()
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def undisturbed(trainers: Stack) -> bytes:
    """The weights that the spec yields when nothing happens."""
    job = trainers.train(**SPEC)
    trainers.await_state(job, "succeeded")
    return trainers.weights(job)


@pytest.mark.parametrize(("point", "number"), CASES, ids=[f"{name}-{how.name}" for name, how in CASES])
def test_job_survives(
    trainers: Stack, undisturbed: bytes, crashes: Path, point: str, number: signal.Signals
) -> None:
    for earlier in crashes.iterdir():
        earlier.unlink()
    crash_points.arm(crashes, point, number, reached=LATER.get(point, 1))
    job = trainers.train(**SPEC)
    struck = until(lambda: crash_points.struck(crashes, point), f"a process {point}", 120)
    if number is STOP:
        try:
            until(lambda: trainers.job(job)["attempt"] > 1, "another owner", 120)
        finally:
            os.kill(struck, signal.SIGCONT)
    told = trainers.await_state(job, "succeeded")
    if (
        number is STOP and point != "before leave"
    ):  # otherwise it would reach the next case's point in this job
        until(
            lambda: f"{job}: it is not ours any more" in trainers.log(), "an owner that knows it was replaced"
        )
    assert trainers.weights(job) == undisturbed
    _ended_once(trainers.events(job))
    _lists_each_checkpoint_once(trainers.root / "jobs" / job, told)
    until(lambda: not _unfinished_files(trainers, job), "the end of every temporary file", proof(30.0, 3.0))


def _ended_once(events: list[Any]) -> None:
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    states = [event["data"]["state"] for event in events if event["type"] == "state"]
    assert states[0] == "queued"
    assert states[-1] == "succeeded"
    assert Counter(states)["succeeded"] == 1
    assert Counter(states)["running"] == Counter(states)["queued"]  # each claim follows a release


def _lists_each_checkpoint_once(home: Path, told: Any) -> None:
    listed = [(one["images_seen"], one["digest"]) for one in told["checkpoints"]]
    assert [images_seen for images_seen, _ in listed] == [3200, 2400, 1600, 800]
    stated = json.loads(max(home.glob("facts-*.json")).read_bytes())["checkpoints"]
    assert [(one["images_seen"], one["digest"]) for one in reversed(stated)] == listed
    for one in stated:
        content = (home / "checkpoints" / one["file"]).read_bytes()
        assert one["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert {path.name for path in (home / "checkpoints").iterdir()} == {one["file"] for one in stated}


def _unfinished_files(stack: Stack, job: str) -> list[Path]:
    return [*(stack.root / "jobs" / job).rglob("*.tmp")]
