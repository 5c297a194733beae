"""Which checkpoint a job's id refers to as a model."""

from contract.evaluation import DEAD
from contract.job import CheckpointFact, best_checkpoint


def checkpoint(images_seen: int, **metrics: float) -> CheckpointFact:
    return CheckpointFact(file="", digest="", images_seen=images_seen, bytes=0, metrics=metrics)


def test_checkpoint_with_the_smallest_distance_is_the_best() -> None:
    known = [checkpoint(1, fd=9.0), checkpoint(2, fd=3.0), checkpoint(3, fd=5.0)]
    assert best_checkpoint(known).images_seen == 2


def test_living_checkpoint_beats_a_closer_one_that_is_dead() -> None:
    dead, living = checkpoint(1, fd=3.0, diversity=DEAD / 2), checkpoint(2, fd=9.0, diversity=DEAD)
    assert best_checkpoint([dead, living]) == living
    assert best_checkpoint([dead, checkpoint(3)]) == dead


def test_evaluated_checkpoint_beats_a_later_unevaluated_one() -> None:
    assert best_checkpoint([checkpoint(1, fd=9.0), checkpoint(2)]).images_seen == 1


def test_latest_checkpoint_is_the_best_if_none_was_evaluated() -> None:
    assert best_checkpoint([checkpoint(1), checkpoint(2)]).images_seen == 2


def test_checkpoints_are_also_ranked_by_true_fid() -> None:
    assert best_checkpoint([checkpoint(1, fid=20.0), checkpoint(2, fid=30.0)]).images_seen == 1
