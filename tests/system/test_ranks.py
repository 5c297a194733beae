"""A job on several devices: several processes that live and die together, and end with the same bits."""

import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from tests.conftest import proof
from tests.system.stack import Stack, alive, caught, until

DEVICES = 3
IMAGES = proof(2_400, 24_000)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose trainer owns three devices, which on a CPU are processes."""
    root = tmp_path_factory.mktemp("large") / "data"
    stack = Stack(root, environment={"DCGAN_DEVICES": str(DEVICES), "DCGAN_DEVICE": "cpu"}).start()
    yield stack
    stack.stop()


def _train(stack: Stack, ranks: int) -> str:
    return stack.train(images=IMAGES, batch_size=12, devices=ranks)


def _ranks(stack: Stack, count: int) -> list[psutil.Process]:
    """The processes of the job in training, the leader first; none if they are not as many."""
    trainer = stack.process("-m", "worker", "--role", "train")
    children = [process for server in trainer.children() for process in server.children()]
    return sorted(children, key=psutil.Process.create_time) if len(children) == count else []


def _await_end(processes: list[psutil.Process]) -> None:
    until(lambda: not any(map(alive, processes)), "the end of all ranks")


@pytest.mark.parametrize("ranks", range(proof(DEVICES, 2), DEVICES + 1))
def test_job_whose_ranks_are_killed_and_which_is_paused_ends_with_the_same_bits(
    large: Stack, ranks: int
) -> None:
    undisturbed = _train(large, ranks)
    large.await_state(undisturbed, "succeeded")
    job = caught(lambda: _paused_after_two_deaths(large, ranks), "a job to kill twice and to pause")
    large.http.post(f"/jobs/{job}/resume").raise_for_status()
    told = large.await_state(job, "succeeded")
    assert told["attempt"] == 4
    assert large.weights(job) == large.weights(undisturbed)
    reasons = [event["data"].get("reason") or "" for event in large.events(job) if event["type"] == "state"]
    assert sum("killed" in reason for reason in reasons) == 2


def _paused_after_two_deaths(stack: Stack, ranks: int) -> str | None:
    """A job that is caught three times before its end; None if it is not."""
    job = _train(stack, ranks)
    for victim in (ranks - 1, 0):  # one that only computes, then the leader
        _await_new_snapshot(stack, job)
        until(lambda: _ranks(stack, ranks) or stack.is_over(job), f"{ranks} ranks")
        processes = _ranks(stack, ranks)
        if not processes:
            return None
        os.kill(processes[victim].pid, signal.SIGKILL)
        _await_end(processes)
        if stack.is_over(job):
            return None
    _await_new_snapshot(stack, job)
    stack.http.post(f"/jobs/{job}/pause")
    return job if stack.await_state(job, "paused", "succeeded")["state"] == "paused" else None


def _await_new_snapshot(stack: Stack, job: str) -> None:
    """Wait for another snapshot, or the end of the job."""
    known = set(stack.snapshots(job))
    until(lambda: set(stack.snapshots(job)) - known or stack.is_over(job), "another snapshot")


def test_cancel_frees_all_devices_even_when_one_hangs(large: Stack) -> None:
    job = large.train(images=10**7, batch_size=12, devices=3)
    large.await_images(job, 24)
    processes = until(lambda: _ranks(large, 3), "3 ranks")
    processes[2].suspend()
    large.http.post(f"/jobs/{job}/cancel").raise_for_status()
    large.await_state(job, "cancelled")
    _await_end(processes)


def test_job_too_large_for_any_trainer_says_so_and_does_not_block_others(large: Stack) -> None:
    too_large = large.train(batch_size=12, devices=DEVICES + 1)
    passing = large.train()
    large.await_state(passing, "succeeded")
    told = large.job(too_large)
    assert (told["state"], told["stalled"]) == ("queued", True)
    assert "DCGAN_DEVICES=4" in told["stalled_reason"]
    large.http.post(f"/jobs/{too_large}/cancel").raise_for_status()
    assert large.job(too_large)["state"] == "cancelled"
