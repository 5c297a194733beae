"""A job that is asked to learn far too fast: the service notices, says so, goes back, and serves the best."""

from models.guards import Cause
from tests.system.stack import TINY, Stack

FAR_TOO_HIGH = 0.05


def test_collapse_is_named_and_the_best_checkpoint_is_served(stack: Stack) -> None:
    job_id = stack.train(
        images=16_000,
        objective="hinge",
        architecture={**TINY, "discriminator_norm": "none"},  # batch norm would bear with it,
        learning_rate_decay=0,
        augmentation=None,  # and so would changed pictures
        generator_learning_rate=FAR_TOO_HIGH,
        discriminator_learning_rate=FAR_TOO_HIGH,
        evaluation={"every_images": 2000},
    )
    job = stack.await_state(job_id, "succeeded", "failed", seconds=150)
    warned = {event["data"]["code"] for event in stack.events(job_id) if event["type"] == "warning"}
    assert warned & set(Cause), (job["evaluation"], job["error"])
    judged = [checkpoint for checkpoint in job["checkpoints"] if checkpoint["metrics"]]
    assert job["checkpoint"]["metrics"]["fd"] == min(checkpoint["metrics"]["fd"] for checkpoint in judged)
    assert stack.http.get("/samples", params={"model": job_id, "seed": 7}).status_code == 200
