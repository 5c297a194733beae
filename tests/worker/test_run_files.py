"""The files of a run on a volume that is away: what it cannot see is not taken for missing."""

from collections.abc import Mapping
from multiprocessing import Pipe

import pytest
import torch
from torch import Tensor

from contract.job import SnapshotFact
from contract.volume import Volume, weights_name
from models.environment import NumericEnvironment, detect
from models.silence import silent
from models.state import TrainingState
from tests.worker.training_child import grey_squares, order_for
from tests.worker.unmounted import Unmounted
from worker.child import Chore
from worker.orders import TrainingOrder
from worker.room import room_of
from worker.run_files import RunFiles


@pytest.fixture
def order(volume: Volume) -> TrainingOrder:
    return order_for(volume, grey_squares())


@pytest.fixture
def environment() -> NumericEnvironment:
    return detect("cpu", 1, "float32")


def files_of(order: TrainingOrder, chore: Chore) -> RunFiles:
    return RunFiles(order, chore, room_of(chore, Volume(order.data_root)))


def saved(order: TrainingOrder, environment: NumericEnvironment, images_seen: int) -> Mapping[str, Tensor]:
    """Save a snapshot, and return its tensors."""
    state = TrainingState.fresh(order.spec, environment)
    next(state.generator.parameters()).data.fill_(images_seen)
    state.images_seen = images_seen
    _, child = Pipe(duplex=True)
    files_of(order, Chore(child)).save(state)
    return dict(state.tensors())


def are_equal(state: TrainingState, tensors: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(tensor, tensors[name]) for name, tensor in state.tensors())


def test_rollback_waits_for_the_volume_and_begins_nothing_anew(
    order: TrainingOrder, volume: Volume, environment: NumericEnvironment
) -> None:
    tensors = saved(order, environment, 8)
    state = TrainingState.fresh(order.spec, environment)
    _, child = Pipe(duplex=True)
    files_of(order, Unmounted(child, volume)).go_back(state, 8, silent)
    assert are_equal(state, tensors)


def test_older_snapshot_is_found_although_the_volume_was_away(
    order: TrainingOrder, volume: Volume, environment: NumericEnvironment
) -> None:
    tensors = saved(order, environment, 8)
    recorded = SnapshotFact(file=weights_name(16, order.token), images_seen=16, best_images_seen=None)
    volume.snapshot(order.job, recorded.file).write_bytes(b"damaged")
    _, child = Pipe(duplex=True)
    files = files_of(order.model_copy(update={"snapshot": recorded}), Unmounted(child, volume))
    state = files.restored(environment, silent)
    assert state.images_seen == 8
    assert are_equal(state, tensors)


def test_run_without_snapshots_goes_back_to_its_beginning(
    order: TrainingOrder, environment: NumericEnvironment
) -> None:
    state = TrainingState.blank(order.spec, environment)
    _, child = Pipe(duplex=True)
    files_of(order, Chore(child)).go_back(state, 8, silent)
    assert are_equal(state, dict(TrainingState.fresh(order.spec, environment).tensors()))
