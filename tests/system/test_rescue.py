"""A job with far too high a learning rate: the collapse is named at once; in the end the best is served."""

from contract.job import best_checkpoint
from contract.volume import Volume
from tests.system.stack import TINY, Stack
from worker.facts import read_facts

FAR_TOO_HIGH = 0.5
"""At a tenth of this rate one run in three collapses, by chance; at this one, all (AVX2, AVX-512)."""
EVERY = 1504


def test_collapse_is_named_at_the_first_evaluation_and_gone_back_from_and_the_best_is_served(
    stack: Stack,
) -> None:
    job_id = stack.train(
        images=6 * EVERY,
        objective="hinge",
        architecture={**TINY, "discriminator_norm": "none"},  # batch norm would withstand the rate,
        learning_rate_decay=0,
        augmentation=None,  # and so would augmented pictures
        generator_learning_rate=FAR_TOO_HIGH,
        discriminator_learning_rate=FAR_TOO_HIGH,
        evaluation={"every_images": EVERY},
    )
    job = stack.await_state(job_id, "succeeded", "failed", seconds=300)
    assert job["state"] == "succeeded", job["error"]
    events = [event for event in stack.events(job_id) if event["type"] in ("metric", "warning")]
    named, collapsed, *later = events
    assert (named["type"], named["data"]["code"]) == ("warning", "mode_collapse")
    assert (collapsed["type"], collapsed["data"]["images_seen"]) == ("metric", EVERY)
    went_on = [event["data"] for event in later if event["type"] == "metric"]
    assert [judged["images_seen"] for judged in went_on] == [EVERY * count for count in range(2, 7)]
    facts = read_facts(Volume(stack.root), job_id)
    assert facts
    best = best_checkpoint(facts.checkpoints)
    assert not best.is_dead
    assert best.images_seen > EVERY
    assert job["checkpoint"]["digest"] == best.digest
    assert stack.http.get("/samples", params={"model": job_id, "seed": 7}).status_code == 200
