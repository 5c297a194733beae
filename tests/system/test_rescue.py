"""A job with far too high a learning rate: the service detects the collapse, warns, and serves the best."""

from contract.job import best_checkpoint
from contract.volume import Volume
from models.diagnosis import Cause
from tests.system.stack import TINY, Stack
from worker.facts import read_facts

FAR_TOO_HIGH = 0.5
"""At a tenth of this rate one run in three collapses, by chance; at this rate, every one."""


def test_collapse_is_reported_and_the_best_checkpoint_is_served(stack: Stack) -> None:
    job_id = stack.train(
        images=6_000,
        objective="hinge",
        architecture={**TINY, "discriminator_norm": "none"},  # batch norm would withstand the rate,
        learning_rate_decay=0,
        augmentation=None,  # and so would augmented pictures
        generator_learning_rate=FAR_TOO_HIGH,
        discriminator_learning_rate=FAR_TOO_HIGH,
        evaluation={"every_images": 1500},
    )
    job = stack.await_state(job_id, "succeeded", "failed", seconds=300)
    warned = {event["data"]["code"] for event in stack.events(job_id) if event["type"] == "warning"}
    assert warned & set(Cause), (job["evaluation"], job["error"])
    facts = read_facts(Volume(stack.root), job_id)
    assert facts
    assert job["checkpoint"]["digest"] == best_checkpoint(facts.checkpoints).digest
    assert stack.http.get("/samples", params={"model": job_id, "seed": 7}).status_code == 200
