"""Dry runs on an idle trainer, and on one in the middle of a job, which they do not disturb."""

from pathlib import Path
from typing import Any

from contract.training import MOST_KEPT
from tests.system.stack import TINY, Stack, images_of, until

IMAGES = 1_600


def dry_run(stack: Stack, **parameters: object) -> Any:
    request = {"dataset": stack.dataset(), "architecture": TINY, **parameters}
    response = stack.http.post("/jobs?dry_run=true", json=request)
    assert response.status_code == 200, response.text
    return response.json()["estimate"]


def test_idle_trainer_estimates_memory_time_and_evaluations(stack: Stack) -> None:
    told = dry_run(stack, images=IMAGES)
    assert told["memory"]["fits"]
    assert told["time"]["basis"] in ("measured", "trained")
    assert told["time"]["seconds"] > 0
    assert told["evaluations"]["count"] == 1
    assert told["trainer"]["name"].startswith("train-")
    assert not told["trainer"]["is_training"]
    assert told["error"] is None


def test_dry_run_during_a_job_does_not_change_its_result(stack: Stack) -> None:
    beside = endless_job(stack)
    stack.await_images(beside, 1)
    told = dry_run(stack, seed=6)
    assert told["trainer"]["is_training"]
    assert told["memory"]["fits"] is (True if told["trainer"]["device"] == "cpu" else None)  # GPU: unknown
    before = checkpoints(stack, beside).keys()
    after = min(until(lambda: checkpoints(stack, beside).keys() - before, "another checkpoint"))
    assert cancelled(stack, beside)["attempt"] == 1
    alone = endless_job(stack)
    until(lambda: after in checkpoints(stack, alone), "the same checkpoint")
    cancelled(stack, alone)
    assert tensors(checkpoints(stack, beside)[after]) == tensors(checkpoints(stack, alone)[after])


def endless_job(stack: Stack) -> str:
    return stack.train(images=MOST_KEPT * IMAGES, checkpoint_every_images=IMAGES, seed=5)


def cancelled(stack: Stack, job: str) -> Any:
    stack.http.post(f"/jobs/{job}/cancel").raise_for_status()
    return stack.await_state(job, "cancelled")


def checkpoints(stack: Stack, job: str) -> dict[int, Path]:
    """The job's checkpoints by the images seen."""
    files = (stack.root / "jobs" / job / "checkpoints").glob("*.safetensors")
    return {images_of(file): file for file in files}


def tensors(checkpoint: Path) -> bytes:
    """Its tensors, without the header, which names the job."""
    content = checkpoint.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]
