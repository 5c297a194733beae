"""A trainer's estimates: made in separate children, beside its jobs, and sent by the deadline."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import context
from types import SimpleNamespace

import psutil
import pytest
import redis

from contract import keys
from contract.errors import ErrorCode, ServiceError
from contract.estimate import Estimate, EstimateAnswer, EstimateAsk
from contract.training import TrainingSpec
from contract.volume import Volume
from models.cost import Cost
from models.environment import detect
from models.memory import require_memory
from models.workload import Workload
from tests.specs import resolved
from tests.worker.children import one_at_a_time, warm_server
from tests.worker.training_child import DATASET, TINY, carry_out, clothes, order_for, said_by
from worker import estimating, link
from worker.child import Child
from worker.estimator import Estimator
from worker.orders import EstimateOrder, InTraining, Reading, TrainingOrder
from worker.process import WorkerProcess
from worker.readings import Readings
from worker.request_server import MARGIN_SECONDS
from worker.settings import Settings

PATIENCE_SECONDS = 120

Started = list[Child]


@pytest.fixture(scope="session")
def server() -> context.ForkServerContext:
    """A warm forkserver, like a trainer's."""
    server = warm_server()
    Child.start(server).end()
    return server


@pytest.fixture
def training(volume: Volume) -> TrainingOrder:
    """The order of a tiny job on so few pictures that its evaluation is short."""
    return order_for(volume, clothes(20))


@pytest.fixture
def readings(volume: Volume) -> Readings:
    return Readings(volume.readings("train-1"))


class Gateway:
    """Requests estimates as a gateway does."""

    def __init__(self, url: str, spec: TrainingSpec) -> None:
        self.redis = redis.Redis.from_url(url, decode_responses=True)
        self._spec = spec

    def ask(self, seconds: float = PATIENCE_SECONDS) -> EstimateAsk:
        now, microseconds = self.redis.time()
        deadline_ms = round((now + microseconds / 1e6 + seconds) * 1000)
        ask = EstimateAsk(
            id=os.urandom(8).hex(), deadline_ms=deadline_ms, spec=self._spec, images=20, held_out_images=1
        )
        self.redis.rpush(keys.ESTIMATES_WAITING, ask.model_dump_json())
        return ask

    def answer(self, ask: EstimateAsk) -> EstimateAnswer:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (found := self.redis.get(keys.ESTIMATE_REPLY_OF + ask.id)):
            assert time.monotonic() < give_up, "no answer came"
            time.sleep(0.02)
        assert 0 < self.redis.ttl(keys.ESTIMATE_REPLY_OF + ask.id) <= 30
        return EstimateAnswer.model_validate_json(str(found))

    def estimate(self) -> Estimate:
        estimate = self.answer(self.ask()).estimate
        assert estimate is not None
        return estimate


@pytest.fixture
def gateway(redis_url: str, training: TrainingOrder) -> Gateway:
    return Gateway(redis_url, training.spec)


@pytest.fixture
def start(
    redis_url: str, volume: Volume, readings: Readings, server: context.ForkServerContext
) -> Iterator[Callable[..., Started]]:
    """Starts the thread, and returns the growing list of its children. `then` is called with each process."""
    running: list[Estimator] = []

    def start(then: Callable[[psutil.Process], None] = lambda _: None) -> Started:
        started: Started = []

        def start_child() -> Child:
            started.append(Child.start(server))
            then(psutil.Process(started[-1].process_id))
            return started[-1]

        warm = threading.Event()
        warm.set()
        settings = Settings(data_root=volume.root, redis_url=redis_url, device="cpu", threads=1)
        process = WorkerProcess.create("train-1", settings)
        running.append(Estimator(process, start_child, readings, warm))
        running[0].start()
        return started

    yield start
    for one in running:
        one.stop()
        one.join(PATIENCE_SECONDS)
        assert not one.is_alive()


def test_idle_trainer_times_steps_and_an_evaluation(gateway: Gateway, start: Callable[..., Started]) -> None:
    started = start()
    told = gateway.estimate()
    assert told.time.basis == "measured"
    assert told.time.seconds is not None
    assert told.time.seconds > 0
    assert "an evaluation in" in told.time.detail
    assert told.memory.fits
    assert (told.error, told.trainer.name, told.trainer.is_training) == (None, "train-1", False)
    assert not started[0].is_alive


def test_estimate_is_answered_without_timing_if_a_job_arrives_meanwhile(
    gateway: Gateway,
    start: Callable[..., Started],
    readings: Readings,
    training: TrainingOrder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The child is started when the order is already made: the order is for an idle trainer."""
    monkeypatch.setattr(Child, "messages", one_at_a_time(Child.messages))
    start(lambda _: readings.begin(training.model_dump_json(), os.getpid()))
    told = gateway.estimate()
    assert (told.time.seconds, told.time.basis, told.trainer.is_training) == (None, "unknown", False)
    assert "busy" not in told.time.detail
    assert told.memory.fits


def test_busy_trainer_only_counts_and_does_not_time(
    gateway: Gateway, start: Callable[..., Started], readings: Readings, training: TrainingOrder
) -> None:
    readings.begin(training.model_dump_json(), os.getpid())
    start()
    told = gateway.estimate()
    assert (told.time.seconds, told.time.basis, told.trainer.is_training) == (None, "unknown", True)
    assert "is busy training one now" in told.time.detail
    assert told.evaluations.count > 0


def test_death_of_a_child_is_reported_and_the_next_ask_is_answered(
    gateway: Gateway, start: Callable[..., Started], readings: Readings, training: TrainingOrder
) -> None:
    readings.begin(training.model_dump_json(), os.getpid())
    killing = iter([True])
    start(lambda child: child.kill() if next(killing, False) else None)
    error = gateway.answer(gateway.ask()).error
    assert error is not None
    assert (error.code, "exit code -9" in error.detail) == (ErrorCode.ESTIMATE_FAILED, True)
    assert gateway.estimate().memory.fits


def test_hung_child_is_killed_before_the_deadline(
    gateway: Gateway, start: Callable[..., Started], monkeypatch: pytest.MonkeyPatch
) -> None:
    def suspend_until_the_deadline(child: psutil.Process) -> None:
        """Let so much time pass that no more than half the reserve for the answer is left."""
        child.suspend()
        passed_seconds = PATIENCE_SECONDS - MARGIN_SECONDS / 2
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + passed_seconds)
        monkeypatch.setattr("worker.request_server.time", later)

    started = start(suspend_until_the_deadline)
    error = gateway.answer(gateway.ask()).error
    assert error is not None
    assert (error.code, "too long" in error.detail) == (ErrorCode.ESTIMATE_FAILED, True)
    assert not started[0].is_alive


def test_ask_past_its_deadline_or_of_another_version_starts_no_child(
    gateway: Gateway, start: Callable[..., Started], readings: Readings, training: TrainingOrder
) -> None:
    readings.begin(training.model_dump_json(), os.getpid())
    late = gateway.ask(seconds=-1)
    gateway.redis.rpush(keys.ESTIMATES_WAITING, '{"id": "1", "spec": "of tomorrow"}')
    started = start()
    assert gateway.estimate().memory.fits
    assert len(started) == 1
    assert not gateway.redis.exists(keys.ESTIMATE_REPLY_OF + late.id)


def all_told_by(
    training: TrainingOrder, *, readings: tuple[Reading, ...] = (), busy: bool = True
) -> list[Estimate]:
    """The estimates of an estimating child, whose work runs in this process."""
    ask = EstimateAsk(id="1", deadline_ms=1, spec=training.spec, images=20, held_out_images=1)
    order = EstimateOrder(
        ask=ask,
        worker="train-1",
        data_root=training.data_root,
        device="cpu",
        threads=1,
        readings=readings,
        training=InTraining(process=os.getpid(), environment=None) if busy else None,
    )
    said = said_by(estimating.estimate_job, order.model_dump_json())
    return [message.estimate for message in said if isinstance(message, link.Estimated)]


def told_by(training: TrainingOrder, *, readings: tuple[Reading, ...] = (), busy: bool = True) -> Estimate:
    """The first of them."""
    return all_told_by(training, readings=readings, busy=busy)[0]


@pytest.fixture(autouse=True)
def unchanged_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the changes that an estimating child makes to its process out of the test process."""
    for name in ("die_first", "leave_the_cores"):
        monkeypatch.setattr(estimating, name, lambda: None)


def test_job_on_several_devices_is_timed_by_the_share_of_one(
    training: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.trial.LEAST_SECONDS", 1e-9)
    spec = training.spec.model_copy(update={"devices": 2})
    told = all_told_by(training.model_copy(update={"spec": spec}), busy=False)[-1].time
    assert told.basis == "measured"
    assert f"steps of {training.spec.batch_size // 2} images in" in told.detail
    assert "in one of 2 processes, alone" in told.detail


def test_estimate_of_a_job_that_is_too_large_contains_the_error_it_would_fail_with(
    training: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = 58 * 2**20
    monkeypatch.setattr(estimating, "available_bytes", lambda _: available)
    large = training.model_copy(update={"spec": training.spec.model_copy(update={"batch_size": 512})})
    told = told_by(large, busy=False)
    with pytest.raises(ServiceError) as refusal:
        require_memory(large.spec, detect("cpu", 1, large.spec.precision), available)
    assert told.error is not None
    assert (told.error.code, told.error.detail) == (refusal.value.code, refusal.value.detail)
    assert (told.memory.fits, told.time.seconds) == (False, None)
    assert f"Set batch_size to {told.memory.batch_size}:" in told.error.detail


def test_memory_held_by_the_job_in_training_counts_as_available(
    training: TrainingOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimating, "available_bytes", lambda _: 1000)
    monkeypatch.setattr(estimating, "held_bytes", lambda process: 5000 if process == os.getpid() else 0)
    assert told_by(training).memory.available_bytes == 6000


def test_missing_features_are_reported(training: TrainingOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        estimating, "available_bytes", lambda _: 2**40
    )  # too little memory would be told first
    judged = training.spec.evaluation.model_copy(update={"features": "inception"})
    spec = training.spec.model_copy(update={"evaluation": judged})
    error = told_by(training.model_copy(update={"spec": spec})).error
    assert error is not None
    assert (error.code, "weights-inception" in error.detail) == ("features_unavailable", True)


def reading(training: TrainingOrder, images_per_second: float, **changes: object) -> Reading:
    """A reading as if this job, with these changes, had run at this pace."""
    environment = detect("cpu", 1, training.spec.precision)
    spec = TrainingSpec.model_validate(training.spec.model_dump() | changes)
    return Reading(
        job=training.job,
        spec=spec,
        environment=environment.model_dump(mode="json"),
        images_per_second=images_per_second,
        seconds=60,
        start_up_seconds=2,
    )


def test_pace_of_a_job_with_identical_steps_is_used(training: TrainingOrder) -> None:
    """Even if its beta1 and seed differ, and a job with other steps was trained later."""
    others = (reading(training, 4.0, seed=1, beta1=0.1), reading(training, 9.0, batch_size=16))
    told = told_by(training, readings=others).time
    assert told.basis == "trained"
    assert told.seconds == pytest.approx(2 + training.spec.images / 4.0, rel=0.01)
    assert f"{training.job}, with identical steps, ran at 4 images/s on this trainer" in told.detail


def test_estimate_from_a_job_with_other_steps_is_extrapolated(training: TrainingOrder) -> None:
    wide = training.spec.architecture.model_copy(update={"generator_width": 64}).model_dump()
    told = told_by(training, readings=(reading(training, 1.0, architecture=wide),)).time
    assert (told.basis, told.seconds is not None) == ("extrapolated", True)


def test_pace_in_another_numeric_environment_is_ignored(training: TrainingOrder) -> None:
    elsewhere = reading(training, 4.0)
    elsewhere = elsewhere.model_copy(update={"environment": elsewhere.environment | {"threads": 7}})
    assert told_by(training, readings=(elsewhere,)).time.basis == "unknown"


def test_predicted_evaluations_match_those_of_the_run(volume: Volume) -> None:
    order = order_for(volume, clothes(20), images=16, evaluation={"every_images": 10})
    judged = [message.images_seen for message in carry_out(order) if isinstance(message, link.Judged)]
    told = told_by(order).evaluations
    assert (told.count, told.every_images, judged) == (2, 10, [12, 16])


def test_previews_and_checkpoints_are_counted(training: TrainingOrder) -> None:
    """Their cost is the same for any run, and most of that of a short one: 512 latents each, 64 to show."""
    spec = training.spec.model_copy(
        update={"images": 24, "preview_every_images": 8, "checkpoint_every_images": 16}
    )
    load, generator = Workload.of(spec, None, 1), Cost.of(spec).generator
    assert load.showing == generator * (3 * (512 + 64) + 2 * 512)
    assert load.operations == 24 * load.training + load.showing


@pytest.mark.parametrize("batch_size", [2, 3, 4])
@pytest.mark.parametrize("every_images", [1, 2, 3, 5, 7, 24, 25, 100])
def test_number_of_evaluations_equals_a_count_batch_by_batch(batch_size: int, every_images: int) -> None:
    seen = range(0, 24, batch_size)
    passed = [before // every_images != (before + batch_size) // every_images for before in seen]
    passed[-1] = True
    settings = {
        "dataset": DATASET,
        "images": 24,
        "batch_size": batch_size,
        "architecture": TINY,
        "evaluation": {"every_images": every_images},
    }
    spec = resolved(settings)
    panel = estimating._panel(spec, 20, 1)
    assert Workload.of(spec, panel, 1).evaluations == sum(passed)
