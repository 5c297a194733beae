"""What a trainer child says of its work."""

import pytest

from contract.volume import Volume
from tests.worker.training_child import carry_out, grey_squares, order_for
from worker import link
from worker.orders import TrainingOrder


@pytest.fixture
def order(volume: Volume) -> TrainingOrder:
    """A tiny job on four grey squares."""
    return order_for(volume, grey_squares())


def test_finished_work_has_told_its_environment_its_checkpoints_and_its_end(order: TrainingOrder) -> None:
    said = carry_out(order)
    assert isinstance(said[0], link.Computing)
    assert isinstance(said[-1], link.Finished)
    published = [message.checkpoint.images_seen for message in said if isinstance(message, link.Published)]
    assert published[-1] == 32


def test_checkpoint_that_is_known_is_not_made_again(order: TrainingOrder) -> None:
    first = [message.checkpoint for message in carry_out(order) if isinstance(message, link.Published)]
    again = carry_out(order.model_copy(update={"checkpoints": tuple(first)}))
    assert not [message for message in again if isinstance(message, link.Published)]


def test_resume_elsewhere_goes_on_and_says_so(order: TrainingOrder) -> None:
    computing = carry_out(order)[0]
    assert isinstance(computing, link.Computing)
    elsewhere = {**computing.environment, "threads": 7}
    told = carry_out(order.model_copy(update={"environment": elsewhere}))[0]
    assert isinstance(told, link.Computing)
    assert told.changed is not None
    assert "7t" in told.changed
