"""Every process of the service is killed in the middle of a job: it goes on, and ends with the same bits."""

import signal
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.conftest import proof
from tests.system.stack import Stack, until

IMAGES = proof(6400, 64000)


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> bytes:
    """The weights that this spec comes to when nothing happens."""
    job = stack.train(images=IMAGES)
    stack.await_state(job, "succeeded")
    return stack.weights(job)


def _job_with_a_snapshot(stack: Stack) -> str:
    job = stack.train(images=IMAGES)
    until(lambda: [*(stack.root / "jobs" / job / "resume").glob("*.safetensors")], "a snapshot")
    return job


def _kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(5)


VICTIMS: dict[str, Callable[[Stack], psutil.Process]] = {
    "training child": Stack.training_child,
    "trainer": lambda stack: stack.process("-m", "worker", "--role", "train"),
    "sampler": lambda stack: stack.process("-m", "worker", "--role", "sample"),
    "gateway": lambda stack: stack.process("-m", "service", "--host"),
    "redis": lambda stack: next(p for p in stack.launcher.children(recursive=True) if _is_durable(p, stack)),
}


def _is_durable(process: psutil.Process, stack: Stack) -> bool:
    return process.name() == "redis-server" and process.cwd() == str(stack.root / "redis")


@pytest.mark.parametrize("victim", VICTIMS)
def test_job_survives_the_death_of(stack: Stack, undisturbed: bytes, victim: str) -> None:
    job = _job_with_a_snapshot(stack)
    _kill(VICTIMS[victim](stack))
    told = stack.await_state(job, "succeeded")
    assert told["progress"]["images_seen"] == IMAGES
    assert stack.weights(job) == undisturbed
    stack.await_ready()


def test_killed_child_is_noticed_at_once_and_goes_on_from_its_snapshot(stack: Stack) -> None:
    job = _job_with_a_snapshot(stack)
    _kill(stack.training_child())
    stack.await_state(job, "succeeded")
    states = [event["data"] for event in _events(stack, job) if event["type"] == "state"]
    assert [state["state"] for state in states] == ["queued", "running", "queued", "running", "succeeded"]
    assert "killed" in states[2]["reason"]


def test_killed_launcher_leaves_no_orphan_and_the_next_one_finishes_the_job(
    own_stack: Stack, undisturbed: bytes
) -> None:
    own_stack.start()
    job = _job_with_a_snapshot(own_stack)
    _kill(own_stack.launcher)
    until(lambda: not own_stack.processes(), "the end of every process", 5)
    own_stack.start()
    own_stack.await_state(job, "succeeded")
    assert own_stack.weights(job) == undisturbed


def test_poisonous_job_fails_and_the_next_one_runs(own_stack: Stack) -> None:
    own_stack.start()
    poison = own_stack.train(images=10**8, architecture="dcgan")  # too slow to reach a snapshot between kills
    after = own_stack.train()
    while own_stack.job(poison)["state"] in ("queued", "running"):
        try:
            _kill(own_stack.training_child())
        except (ValueError, psutil.Error):
            time.sleep(0.01)
    told = own_stack.job(poison)
    assert (told["state"], told["error"]["code"]) == ("failed", "died_repeatedly")
    own_stack.await_state(after, "succeeded")


def _events(stack: Stack, job: str) -> list[Any]:
    response = stack.http.get(f"/jobs/{job}/events", headers={"Accept": "application/json"})
    return list(response.json()["events"])
