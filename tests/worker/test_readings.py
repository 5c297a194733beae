"""The pace of jobs, overheard from their children's messages and kept."""

from collections.abc import Callable

import pytest

from contract.job import Progress, SnapshotFact
from contract.training import TrainingSpec
from contract.volume import Volume
from tests.worker.clock import Clock
from tests.worker.training_child import clothes, order_for
from worker import link
from worker.orders import TrainingOrder
from worker.readings import KEPT, STEP, Readings, has_steps_of

HERE = {"device": "cpu"}
SAYS_NOTHING_OF_A_STEP = {
    "beta1",
    "beta2",
    "checkpoint_every_images",
    "dataset",
    "discriminator_learning_rate",
    "ema_halflife_images",
    "fit",
    "format_version",
    "generator_learning_rate",
    "images",
    "learning_rate_decay",
    "name",
    "preset",
    "preview_every_images",
    "prior",
    "seed",
}


@pytest.fixture
def order(volume: Volume) -> TrainingOrder:
    return order_for(volume, clothes(2))


@pytest.fixture
def go_by(volume: Volume, clock: Clock) -> Callable[..., Readings]:
    """Runs a job that starts in 2 seconds, and then sees 10 images a second for some seconds."""

    def go_by(order: TrainingOrder, seconds: float = 100, computing: link.Message | None = None) -> Readings:
        volume.run.mkdir(exist_ok=True)
        readings = Readings(volume.readings("train-1"), clock)
        readings.begin(order.model_dump_json(), 1)
        readings.hear(computing or link.Computing(environment=HERE))
        before = order.snapshot.images_seen if order.snapshot else 0
        for passed in (1, seconds):
            clock.now += passed if passed > 1 else 3
            done = before + round(10 * passed)
            readings.hear(link.Advanced(progress=Progress(done=done, total=10**6, images_per_second=10)))
        return readings

    return go_by


def test_pace_and_start_up_of_the_job_in_training_are_read(
    order: TrainingOrder, go_by: Callable[..., Readings]
) -> None:
    readings = go_by(order)
    (told,) = readings.all()
    assert (told.images_per_second, told.seconds, told.start_up_seconds) == (10, 100, 2)
    assert readings.in_training is not None
    assert readings.in_training.environment == HERE


def test_reading_survives_a_restart_of_its_worker(
    order: TrainingOrder, go_by: Callable[..., Readings], volume: Volume
) -> None:
    readings = go_by(order)
    told = readings.all()
    readings.end()
    readings.end()
    assert readings.in_training is None
    assert Readings(volume.readings("train-1")).all() == told == readings.all()


def test_only_the_newest_reading_of_identical_steps_is_kept(
    order: TrainingOrder, go_by: Callable[..., Readings]
) -> None:
    go_by(order).end()
    again = order.model_copy(update={"job": "job_" + "1" * 16})
    assert [told.job for told in go_by(again).all()] == [again.job]


def test_readings_are_bounded(order: TrainingOrder, go_by: Callable[..., Readings]) -> None:
    for size in range(2, KEPT + 5):
        spec = order.spec.model_copy(update={"batch_size": size})
        readings = go_by(order.model_copy(update={"spec": spec}))
        readings.end()
    assert [told.spec.batch_size for told in readings.all()] == list(range(5, KEPT + 5))


def test_job_that_ends_at_once_gives_no_reading(order: TrainingOrder, go_by: Callable[..., Readings]) -> None:
    assert go_by(order, seconds=2).all() == ()


def test_resumed_job_gives_a_pace_but_no_start_up(
    order: TrainingOrder, go_by: Callable[..., Readings]
) -> None:
    snapshot = SnapshotFact(file="000000000640-1.safetensors", images_seen=640)
    (told,) = go_by(order.model_copy(update={"snapshot": snapshot})).all()
    assert (told.seconds, told.start_up_seconds) == (100, None)


def test_pace_of_a_job_resumed_in_another_environment_is_one_of_this(
    order: TrainingOrder, go_by: Callable[..., Readings]
) -> None:
    (told,) = go_by(order, computing=link.Computing(environment=HERE, changed="saved elsewhere")).all()
    assert told.environment == HERE


@pytest.mark.parametrize("content", [b"", b"{", b'{"readings": [{}]}', b"\xff"])
def test_unreadable_file_is_replaced(
    order: TrainingOrder, go_by: Callable[..., Readings], volume: Volume, content: bytes
) -> None:
    volume.run.mkdir()
    volume.readings("train-1").write_bytes(content)
    go_by(order).end()
    assert len(Readings(volume.readings("train-1")).all()) == 1


def test_disk_that_rejects_a_reading_does_not_fail_the_job(
    order: TrainingOrder, go_by: Callable[..., Readings], volume: Volume
) -> None:
    volume.root.mkdir(exist_ok=True)
    volume.run.write_text("no directory")
    readings = Readings(volume.root / "elsewhere.json")
    readings._path = volume.readings("train-1")
    readings.begin(order.model_dump_json(), 1)
    readings.hear(link.Computing(environment=HERE))
    readings.hear(link.Advanced(progress=Progress(done=100, total=1000, images_per_second=10)))
    readings.end()
    assert len(readings.all()) == 1


def test_every_field_of_a_spec_is_listed_as_affecting_a_step_or_not() -> None:
    assert set(TrainingSpec.model_fields) == STEP | SAYS_NOTHING_OF_A_STEP


def test_steps_are_compared_by_the_fields_that_affect_them(order: TrainingOrder) -> None:
    assert has_steps_of(order.spec, order.spec.model_copy(update={"seed": 1, "images": 10**6}))
    assert not has_steps_of(order.spec, order.spec.model_copy(update={"resolution": 64}))
