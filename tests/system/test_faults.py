"""A job survives the death of each process of the service, and ends with the same bits."""

import math
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import proof
from tests.system.stack import KILLED_WITHIN_SECONDS, Stack, caught, few_pictures, until

IMAGES = proof(4800, 64000)
ENDLESS = 10**7


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> bytes:
    """The weights that this spec yields when nothing happens."""
    job = stack.train(images=IMAGES)
    stack.await_state(job, "succeeded")
    return stack.weights(job)


def _job_with_a_snapshot(stack: Stack) -> str:
    job = stack.train(images=IMAGES)
    until(lambda: stack.snapshots(job), "a snapshot")
    return job


def _job_struck(stack: Stack, strike: Callable[[], None]) -> str:
    """A job to which this happened after a snapshot, and before the last one."""

    def attempt() -> str | None:
        job = _job_with_a_snapshot(stack)
        try:
            strike()
        except ValueError:  # there is no child any more
            return None
        return None if stack.is_over(job) else job

    return caught(attempt, "a job in training")


def _kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(KILLED_WITHIN_SECONDS)


AT_WORK = ("training child", "trainer")
"""After the death of one of these the job is claimed again."""
VICTIMS: dict[str, tuple[Callable[[Stack], psutil.Process], ...]] = {
    "training child": (Stack.training_child,),
    "trainer": (lambda stack: stack.process("-m", "worker", "--role", "train"),),
    "redis": (lambda stack: _redis(stack, stack.root / "redis"),),
    "gateway, sampler and their redis": (
        lambda stack: stack.process("-m", "service", "--host"),
        lambda stack: stack.process("-m", "worker", "--role", "sample"),
        lambda stack: _redis(stack, stack.root / "run" / "redis-samples"),
    ),
}


def _redis(stack: Stack, directory: Path) -> psutil.Process:
    processes = stack.launcher.children(recursive=True)
    (found,) = (p for p in processes if p.name() == "redis-server" and p.cwd() == str(directory))
    return found


@pytest.mark.parametrize("victims", VICTIMS)
def test_job_survives_the_death_of(stack: Stack, undisturbed: bytes, victims: str) -> None:
    def strike() -> None:
        for process in [victim(stack) for victim in VICTIMS[victims]]:
            _kill(process)

    job = _job_struck(stack, strike)
    told = stack.await_state(job, "succeeded")
    if victims in AT_WORK:
        assert told["attempt"] == 2
    assert told["progress"]["images_seen"] == IMAGES
    assert stack.weights(job) == undisturbed
    stack.await_ready()


def test_killed_child_is_noticed_at_once_and_the_next_resumes_from_its_snapshot(stack: Stack) -> None:
    job = stack.train(images=ENDLESS)
    until(lambda: stack.saved_images(job) > IMAGES // 2, "a snapshot far from the start")
    saved_images = stack.saved_images(job)
    _kill(stack.training_child())
    later = until(lambda: _progress_after_death(stack, job), "progress of the next child")
    assert min(later) >= saved_images
    states = [event["data"] for event in stack.events(job) if event["type"] == "state"]
    assert [told["state"] for told in states] == ["queued", "running", "queued", "running"]
    assert "killed" in states[2]["reason"]
    stack.http.post(f"/jobs/{job}/cancel").raise_for_status()
    stack.await_state(job, "cancelled")


def _progress_after_death(stack: Stack, job: str) -> list[int]:
    """The images seen that were told since the job was queued again."""
    events = stack.events(job)
    deaths = [event["id"] for event in events if event["data"].get("state") == "queued" and event["id"] > 1]
    later = [event for event in events if event["id"] > max(deaths, default=math.inf)]
    return [event["data"]["images_seen"] for event in later if event["type"] == "progress"]


def test_killed_launcher_leaves_no_orphan_and_the_next_one_finishes_the_job(
    own_stack: Stack, undisturbed: bytes
) -> None:
    own_stack.start()
    job = _job_with_a_snapshot(own_stack)
    _kill(own_stack.launcher)
    until(lambda: not own_stack.processes(), "the end of every process", 60)
    own_stack.start()
    own_stack.await_state(job, "succeeded")
    assert own_stack.weights(job) == undisturbed


def test_poisonous_job_fails_and_the_next_one_runs(stack: Stack) -> None:
    poison = stack.train(images=10**8, architecture="dcgan")  # too slow to reach a snapshot between kills
    after = stack.train()
    while stack.job(poison)["state"] in ("queued", "running"):
        try:
            _kill(stack.training_child())
        except (ValueError, psutil.Error):
            time.sleep(0.01)
    told = stack.job(poison)
    assert (told["state"], told["error"]["code"]) == ("failed", "died_repeatedly")
    stack.await_state(after, "succeeded")


def test_dataset_survives_the_death_of_its_preparer(stack: Stack) -> None:
    dataset = stack.upload()
    until(lambda: stack.get(f"/datasets/{dataset}")["state"] != "queued", "a claimed dataset")
    _kill(stack.process("-m", "worker", "--role", "prepare"))
    until(lambda: stack.get(f"/datasets/{dataset}")["state"] == "ready", "a ready dataset")
    stack.await_ready()


def test_corrupt_snapshot_is_skipped_for_the_previous_one(stack: Stack, undisturbed: bytes) -> None:
    job = caught(lambda: _paused_job(stack), "a job to pause")
    newest = stack.snapshots(job)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    stack.http.post(f"/jobs/{job}/resume").raise_for_status()
    stack.await_state(job, "succeeded")
    warnings = [event["data"]["code"] for event in stack.events(job) if event["type"] == "warning"]
    assert warnings == ["snapshot_unreadable"]
    assert stack.weights(job) == undisturbed


def _paused_job(stack: Stack) -> str | None:
    """A job that was paused with two snapshots; None if it was not."""
    job = _job_with_a_snapshot(stack)
    stack.http.post(f"/jobs/{job}/pause")
    state = stack.await_state(job, "paused", "succeeded")["state"]
    return job if state == "paused" and len(stack.snapshots(job)) > 1 else None


def test_emptied_redis_is_rebuilt_from_the_volume(own_stack: Stack, undisturbed: bytes) -> None:
    own_stack.start()
    finished = own_stack.train()
    own_stack.await_state(finished, "succeeded")
    own_stack.http.put("/models/mine", json={"job": finished}).raise_for_status()
    before = own_stack.http.get("/samples?seed=7&model=mine")
    running = _job_with_a_snapshot(own_stack)
    events = len(own_stack.events(finished))
    until(lambda: _mirrored(own_stack, finished) == events, "the mirrored events of the finished job")

    own_stack.records().flushall()

    own_stack.await_state(running, "succeeded")
    assert own_stack.weights(running) == undisturbed
    assert own_stack.job(running)["attempt"] == 1  # its owner never released it
    again = own_stack.job(finished)
    assert again["state"] == "succeeded"
    assert again["revision"] > events
    after = own_stack.http.get("/samples?seed=7&model=mine")
    assert after.content == before.content
    assert own_stack.http.delete(f"/datasets/{own_stack.dataset()}").status_code == 204
    own_stack.stop()


def test_full_redis_ends_no_worker_and_no_job(stack: Stack) -> None:
    job = _job_with_a_snapshot(stack)
    start = len(stack.log())
    stack.records().config_set("maxmemory", 1)
    try:
        _kill(stack.process("-m", "worker", "--role", "prepare"))  # the next cannot declare its queue
        until(lambda: "maxmemory" in stack.log()[start:], "a preparer that Redis refuses")
        assert stack.await_state(job, "succeeded")["attempt"] == 1
    finally:
        stack.records().config_set("maxmemory", 0)
    dataset = stack.upload(few_pictures())
    until(lambda: stack.get(f"/datasets/{dataset}")["state"] == "ready", "a ready dataset")
    assert "Unrecoverable error" not in stack.log()[start:]
    stack.await_ready()


def _mirrored(stack: Stack, job: str) -> int:
    return len((stack.root / "jobs" / job / "events.jsonl").read_text().splitlines())
