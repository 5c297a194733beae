"""The files of a run on a volume that is away or fails: what it cannot see is not taken for missing."""

import errno
import os
from collections.abc import Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

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
from worker import link
from worker.child import Chore
from worker.orders import TrainingOrder
from worker.room import Room, room_of
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
    files_of(order, Chore(child)).save(state, 8)
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


@pytest.mark.parametrize("foreign", ["._000000000008-7.safetensors", "best.safetensors"])
def test_file_beside_the_snapshots_does_not_disturb_a_run(
    foreign: str, order: TrainingOrder, volume: Volume, environment: NumericEnvironment
) -> None:
    tensors = saved(order, environment, 8)
    recorded = SnapshotFact(file=weights_name(16, order.token), images_seen=16)
    volume.snapshot(order.job, foreign).write_bytes(b"of another program")
    _, child = Pipe(duplex=True)
    files = files_of(order.model_copy(update={"snapshot": recorded}), Chore(child))
    state = files.restored(environment, silent)
    assert are_equal(state, tensors)
    files.go_back(state, 8, silent)
    assert are_equal(state, tensors)


class Failing(Chore):
    """The disk fails to read a file, until the work has waited a few times, or for ever."""

    def __init__(self, connection: Connection, path: Path, *, times: int | None) -> None:
        super().__init__(connection)
        self._path = path
        self._left = times
        self._whole = path.rename(path.with_suffix(".whole"))
        path.symlink_to("/proc/self/mem")  # to read its beginning is an EIO

    def rest(self, _seconds: float) -> None:
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self._whole.replace(self._path)


@pytest.mark.parametrize("times", [1, 3])
def test_snapshot_that_the_disk_does_not_give_back_at_once_is_resumed_from(
    order: TrainingOrder, volume: Volume, environment: NumericEnvironment, times: int
) -> None:
    saved(order, environment, 8)
    tensors = saved(order, environment, 16)
    newest = SnapshotFact(file=weights_name(16, order.token), images_seen=16, best_images_seen=None)
    _, child = Pipe(duplex=True)
    chore = Failing(child, volume.snapshot(order.job, newest.file), times=times)
    state = files_of(order.model_copy(update={"snapshot": newest}), chore).restored(environment, silent)
    assert state.images_seen == 16
    assert are_equal(state, tensors)


def test_snapshot_that_the_disk_does_not_give_back_at_once_is_gone_back_to(
    order: TrainingOrder, volume: Volume, environment: NumericEnvironment
) -> None:
    tensors = saved(order, environment, 8)
    state = TrainingState.fresh(order.spec, environment)
    _, child = Pipe(duplex=True)
    chore = Failing(child, volume.snapshot(order.job, weights_name(8, order.token)), times=1)
    files_of(order, chore).go_back(state, 8, silent)
    assert are_equal(state, tensors)


def test_snapshot_in_a_bad_sector_is_given_up_for_the_one_before_it(
    order: TrainingOrder, volume: Volume, environment: NumericEnvironment
) -> None:
    tensors = saved(order, environment, 8)
    saved(order, environment, 16)
    newest = SnapshotFact(file=weights_name(16, order.token), images_seen=16, best_images_seen=None)
    supervisor, child = Pipe(duplex=True)
    chore = Failing(child, volume.snapshot(order.job, newest.file), times=None)
    state = files_of(order.model_copy(update={"snapshot": newest}), chore).restored(environment, silent)
    assert are_equal(state, tensors)
    said = []
    while supervisor.poll():
        said.append(link.receive(supervisor))
    over, warned, computing = said[-3:]
    assert over == link.Waiting(shortage=None)
    assert isinstance(warned, link.Warned)
    assert warned.code == "snapshot_unreadable"
    assert "Input/output error" in warned.detail
    assert isinstance(computing, link.Computing)


class GoneAfterwards(Room):
    """The room of a child whose volume is unmounted after the first write, until the child waits."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume, silent, lambda _: self._mount())
        self._jobs = volume.jobs
        self._away = volume.root / "away"

    def write(self, path: Path, content: bytes) -> None:
        super().write(path, content)
        self._jobs.rename(self._away)

    def _mount(self) -> None:
        self._away.rename(self._jobs)


def test_checkpoint_is_published_although_the_volume_goes_away_after_the_write(
    order: TrainingOrder, volume: Volume, environment: NumericEnvironment
) -> None:
    supervisor, child = Pipe(duplex=True)
    state = TrainingState.fresh(order.spec, environment)
    RunFiles(order, Chore(child), GoneAfterwards(volume)).publish(state, None)
    published = link.receive(supervisor)
    assert isinstance(published, link.Published)
    (path,) = volume.checkpoints(order.job).iterdir()
    assert published.checkpoint.bytes == path.stat().st_size


def test_preview_is_written_although_it_cannot_be_told_at_once_whether_it_is_there(
    order: TrainingOrder, volume: Volume, environment: NumericEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Path] = []

    def fail_once(path: Path) -> bool:
        tries.append(path)
        if len(tries) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return path.is_file()

    monkeypatch.setattr(Path, "exists", fail_once)
    monkeypatch.setattr("worker.room.FIRST_PAUSE_SECONDS", 0.01)
    _, child = Pipe(duplex=True)
    state = TrainingState.fresh(order.spec, environment)
    files_of(order, Chore(child)).show(state)
    assert volume.preview(order.job, 0).is_file()


def test_run_without_snapshots_goes_back_to_its_beginning(
    order: TrainingOrder, environment: NumericEnvironment
) -> None:
    state = TrainingState.blank(order.spec, environment)
    _, child = Pipe(duplex=True)
    files_of(order, Chore(child)).go_back(state, 8, silent)
    assert are_equal(state, dict(TrainingState.fresh(order.spec, environment).tensors()))
