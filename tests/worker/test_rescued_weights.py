"""A run that is resumed after a rollback ends with the weights of the uninterrupted one, bit for bit."""

from collections.abc import Iterator

import pytest
import torch

from contract.volume import Volume
from models import course, diagnosis, signs, trainer
from models.batches import Batches
from models.ranks import Ranks
from models.state import TrainingState
from models.watch import Adjustments
from tests.worker.test_rescue import EVERY, kill_generator, order_of
from tests.worker.training_child import carry_out
from worker import link
from worker.orders import TrainingOrder

HARMED_AT = 2 * EVERY


def ended(order: TrainingOrder, *, is_killed: bool) -> tuple[list[link.Message], TrainingState]:
    """Carry out a run, whose generator dies at its second evaluation if `is_killed`."""
    states: list[TrainingState] = []
    honest = trainer.train

    def seen(state: TrainingState, batches: Batches, ranks: Ranks) -> Iterator[trainer.Progress]:
        states.append(state)
        for progress in honest(state, batches, ranks):
            if is_killed and progress.images_seen == HARMED_AT:
                kill_generator(state)
            yield progress

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(trainer, "train", seen)
        said = carry_out(order)
    (state,) = states
    return said, state


@pytest.mark.parametrize("cause", ["mode_collapse", "overfitting"])
def test_run_resumed_after_a_rollback_ends_with_the_same_bits(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    if cause == "overfitting":  # most samples count as copies: augmentation is added
        monkeypatch.setattr(signs, "COPIED", -1.0)
        monkeypatch.setattr(signs, "LEAST_COPIED", -1.0)
        for module in (signs, diagnosis):
            monkeypatch.setattr(module, "COLLAPSED", 0.0)
        for module in (course, diagnosis):
            monkeypatch.setattr(module, "YOUNG_STEPS", HARMED_AT // 16)
    else:
        monkeypatch.setattr(diagnosis, "WORSE", 1.0)
    order = order_of(volume, augmentation=None).model_copy(update={"snapshot_seconds": 0})
    said, straight = ended(order, is_killed=cause == "mode_collapse")
    warned = {
        one.images_seen: one.warning.code for one in said if isinstance(one, link.Judged) and one.warning
    }
    assert warned[HARMED_AT] == cause
    saved = [message.snapshot for message in said if isinstance(message, link.Saved)]
    after = next(snapshot for snapshot in saved if snapshot.images_seen > HARMED_AT)
    assert after.best_images_seen == EVERY
    said_again, resumed = ended(order.model_copy(update={"snapshot": after}), is_killed=False)
    assert resumed.watch == straight.watch
    assert resumed.watch.adjustments != Adjustments()
    assert (resumed.watch.adjustments.augmentation > 0) is (cause == "overfitting")
    found = dict(resumed.tensors())
    assert all(torch.equal(tensor, found[name]) for name, tensor in straight.tensors())
    judged = [message for message in said_again if isinstance(message, link.Judged)]
    assert judged == [message for message in said if isinstance(message, link.Judged)][-len(judged) :]
