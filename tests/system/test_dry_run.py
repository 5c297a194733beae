"""Dry runs on an idle trainer, and on one in the middle of a job, which they do not disturb."""

from typing import Any

import pytest

from contract.training import MOST_KEPT
from tests.system.stack import TINY, Stack

IMAGES = 1_600


def dry_run(stack: Stack, **parameters: object) -> Any:
    request = {"dataset": stack.dataset(), "architecture": TINY, **parameters}
    response = stack.http.post("/jobs?dry_run=true", json=request)
    assert response.status_code == 200, response.text
    return response.json()["estimate"]


def tensors(stack: Stack, job: str, images_seen: int) -> bytes:
    """The tensors of one checkpoint, without the header, which names the job."""
    (path,) = (stack.root / "jobs" / job / "checkpoints").glob(f"{images_seen:012d}-*.safetensors")
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


@pytest.fixture(scope="module")
def told_idle(stack: Stack) -> Any:
    return dry_run(stack, images=IMAGES)


def test_idle_trainer_estimates_memory_time_and_evaluations(stack: Stack, told_idle: Any) -> None:
    assert told_idle["memory"]["fits"]
    assert told_idle["time"]["basis"] in ("measured", "trained")
    assert told_idle["time"]["seconds"] > 0
    assert told_idle["evaluations"]["count"] == 1
    assert told_idle["trainer"]["name"].startswith("train-")
    assert not told_idle["trainer"]["is_training"]
    assert told_idle["error"] is None


def test_dry_run_during_a_job_does_not_change_its_result(stack: Stack, told_idle: Any) -> None:
    even = {"seed": 5, "checkpoint_every_images": IMAGES, "learning_rate_decay": 0}
    alone = stack.train(images=IMAGES, **even)
    stack.await_state(alone, "succeeded")
    beside = stack.train(images=MOST_KEPT * IMAGES, **even)
    assert stack.await_images(beside, 1)["progress"]["images_seen"] < IMAGES
    told = dry_run(stack, seed=6)
    assert told["trainer"]["is_training"]
    assert told["memory"]["fits"] is (True if told["trainer"]["device"] == "cpu" else None)  # GPU: unknown
    stack.await_images(beside, IMAGES + 1)
    stack.http.post(f"/jobs/{beside}/cancel").raise_for_status()
    job = stack.await_state(beside, "cancelled")
    assert job["attempt"] == 1
    assert tensors(stack, beside, IMAGES) == tensors(stack, alone, IMAGES)
