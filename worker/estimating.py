"""The work of an estimating child: what a job would take on this trainer, reported as soon as known.

The first report takes a second of counting. An idle trainer then times a few steps and reports again, then
times an evaluation and reports once more. The last report before the deadline is the answer, so that steps of
a minute, or a job that arrives meanwhile, cost precision but never the answer.
"""

import math
import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from contract.durable import at_once
from contract.errors import ErrorCode, ServiceError
from contract.estimate import (
    AskedTrainer,
    Estimate,
    EstimateBasis,
    EvaluationPlan,
    MemoryEstimate,
    TimeEstimate,
)
from contract.job import Failure
from contract.training import TrainingSpec
from contract.volume import Volume
from models.datasets.split import split_sizes
from models.environment import NumericEnvironment, detect
from models.features import CHOICES, Features
from models.memory import fitting, needed_bytes, pictures_bytes, refused
from models.panel import Panel
from models.workload import Workload
from worker import link
from worker.child import Chore
from worker.low_priority import die_first, leave_the_cores
from worker.memory import available_bytes, held_bytes
from worker.orders import EstimateOrder, Reading
from worker.readings import has_steps_of
from worker.trial import Steps, Trial

CLAIM_SECONDS = 0.5
"""The part of a job's start that this process does not go through: the claim, facts, files."""


def estimate_job(order_json: str, chore: Chore) -> None:
    """Report what the job would take, up to three times, each better than the last."""
    began = time.monotonic()
    order = EstimateOrder.model_validate_json(order_json)
    die_first()
    if order.training:
        leave_the_cores()
    try:
        _tell(order, chore, began)
    except torch.OutOfMemoryError as error:
        raise MemoryError(str(error)) from error
    chore.tell(link.Finished())


def _tell(order: EstimateOrder, chore: Chore, began: float) -> None:
    job = _Job(order)
    start_up_seconds = time.monotonic() - began + CLAIM_SECONDS
    predicted = job.from_readings(start_up_seconds)
    chore.tell(link.Estimated(estimate=job.estimate(predicted)))
    if predicted.basis == "trained" or order.training or job.error:
        return
    made = time.monotonic()
    trial = Trial(job.spec.part, job.environment, job.workload.training)
    start_up_seconds += time.monotonic() - made
    steps = trial.steps()
    chore.tell(link.Estimated(estimate=job.estimate(job.timed(steps, start_up_seconds))))
    if job.panel is not None and job.features.is_quick:
        seconds = trial.evaluation(job.panel, job.load_features())
        chore.tell(link.Estimated(estimate=job.estimate(job.timed(steps, start_up_seconds, seconds))))


class _Job:
    """Computes the estimates of one job."""

    def __init__(self, order: EstimateOrder) -> None:
        self.spec = order.ask.spec
        self._order = order
        self._volume = Volume(order.data_root)
        self.features = CHOICES[self.spec.evaluation.features]
        self.environment = _environment(order)
        self._available = self._available_bytes()
        self.panel = _panel(self.spec, order.ask.images, order.ask.held_out_images)
        self.workload = Workload.of(self.spec, self.panel, _features_cost(self.spec))
        self.memory, self._too_large = self._memory()

    @cached_property
    def error(self) -> Failure | None:
        """The error with which the job would fail before it begins."""
        refusal = self._too_large or self._without_features()
        return Failure(code=refusal.code, detail=refusal.detail) if refusal else None

    def load_features(self) -> Features:
        return self.features.load(self._volume, self.environment.device, at_once)

    def estimate(self, duration: TimeEstimate) -> Estimate:
        environment = self.environment
        return Estimate(
            memory=self.memory,
            time=duration,
            evaluations=EvaluationPlan(
                count=self.workload.evaluations, every_images=self.workload.every_images
            ),
            trainer=AskedTrainer(
                name=self._order.worker,
                device=environment.device,
                device_model=environment.device_model,
                threads=environment.threads,
                precision=environment.precision,
                is_training=self._order.training is not None,
            ),
            error=self.error,
        )

    def from_readings(self, start_up_seconds: float) -> TimeEstimate:
        """Estimate from the most similar job that was measured on this device."""
        reading = _nearest(self._order.readings, self.spec, self.environment, self.workload)
        if reading is None:
            return self._time(None, "unknown", self._why_unknown())
        load = Workload.of(reading.spec, self.panel, _features_cost(reading.spec))
        pace = reading.images_per_second * load.operations / load.images
        start_up_seconds = reading.start_up_seconds or start_up_seconds
        seconds = start_up_seconds + self.workload.operations / pace
        rate = f"ran at {reading.images_per_second:,.0f} images/s on this trainer"
        if has_steps_of(reading.spec, self.spec):
            return self._time(seconds, "trained", f"{reading.job}, with identical steps, {rate}.")
        detail = f"{reading.job}, with other steps, {rate}; estimated from its multiply-adds per second."
        return self._time(seconds, "extrapolated", detail)

    def timed(
        self, steps: Steps, start_up_seconds: float, first_evaluation: float | None = None
    ) -> TimeEstimate:
        """Estimate from timed steps and, if given, a timed evaluation."""
        load, devices = self.workload, self.spec.devices
        detail = f"{steps.count} steps of {steps.batch_size} images in {steps.seconds:.1f} s"
        if devices > 1:
            detail += f" in one of {devices} processes, alone; what they exchange is not counted"
        pace = steps.images_per_second * devices * load.training
        training_seconds = (load.images * load.training + load.showing) / pace
        if first_evaluation is None:
            judging_seconds = load.judging / pace
        else:
            judging_seconds = first_evaluation * load.judging / (load.reference + load.evaluation)
            detail += f", an evaluation in {first_evaluation:.1f} s"
        seconds = start_up_seconds + training_seconds + judging_seconds
        return self._time(seconds, "measured", f"Timed just now: {detail}.")

    def _time(self, seconds: float | None, basis: EstimateBasis, detail: str) -> TimeEstimate:
        if not self._volume.array(self.spec.dataset, self.spec.form).exists():
            detail += (
                " The first job of this size decodes the dataset's pictures first, which is not counted."
            )
        return TimeEstimate(seconds=seconds and round(seconds, 1), basis=basis, detail=detail)

    def _why_unknown(self) -> str:
        if self._order.training:
            return "No comparable job has been trained here yet, and this trainer is busy training one now."
        if self.error:
            return "No job has been trained here yet, and this one would not begin."
        return "No job has been trained here yet, and there was not enough time to measure this job's steps."

    def _memory(self) -> tuple[MemoryEstimate, ServiceError | None]:
        """The memory that the job would take, and the error if there is too little."""
        besides_bytes = pictures_bytes(self.spec, self._order.ask.images, self.environment.device)
        needed, available = needed_bytes(self.spec, self.environment) + besides_bytes, self._available
        smaller, error = None, None
        if available is not None and needed > available:
            smaller = fitting(self.spec, self.environment, available - besides_bytes)
            error = refused(self.spec, needed, available, smaller)
        memory = MemoryEstimate(
            needed_bytes=needed,
            available_bytes=available,
            fits=None if available is None else error is None,
            batch_size=smaller.batch_size if smaller else None,
        )
        return memory, error

    def _without_features(self) -> ServiceError | None:
        """The error if evaluations need a file that is missing."""
        try:
            if self.panel is not None:
                self.features.require(self._volume)
        except ServiceError as refusal:
            return refusal
        return None

    def _available_bytes(self) -> int | None:
        """The memory available when the job's turn comes, including what the job in training holds."""
        training = self._order.training
        if training is None:
            return available_bytes(self.environment.device)
        if self.environment.device == "cuda":
            return None
        return available_bytes("cpu") + held_bytes(training.process)


def _environment(order: EstimateOrder) -> NumericEnvironment:
    """The numeric environment. A GPU that is training is not queried.

    Raises:
        ServiceError: `trainer_busy`: training has only just begun, so its environment is not known yet.
    """
    precision = order.ask.spec.precision
    if order.training is None or order.device == "cpu" or not torch.cuda.is_available():
        return detect(order.device, order.threads, precision)
    if order.training.environment is None:
        detail = "The trainer is about to begin a job on its GPU; try again in a moment."
        raise ServiceError(ErrorCode.TRAINER_BUSY, detail)
    chosen = {} if precision == "auto" else {"precision": precision}
    return NumericEnvironment.model_validate(order.training.environment | chosen)


def _panel(spec: TrainingSpec, images: int, held_out_images: int) -> Panel | None:
    """A panel of the job's sizes; which pictures it holds does not matter here."""
    shown, held_out = split_sizes(images, held_out_images)
    return Panel.of(np.arange(shown), np.arange(shown, shown + held_out), spec.seed)


def _nearest(
    readings: Sequence[Reading], spec: TrainingSpec, environment: NumericEnvironment, load: Workload
) -> Reading | None:
    """The reading in this environment with identical steps, else with steps closest in size."""
    wanted = environment.model_dump(mode="json")
    usable = [one for one in readings if one.environment == wanted and one.spec.devices == spec.devices]
    same = [one for one in usable if has_steps_of(one.spec, spec)]
    size = load.training * spec.batch_size
    return min(same or usable, key=lambda one: _difference(_step_operations(one.spec), size), default=None)


def _features_cost(spec: TrainingSpec) -> int:
    """Multiply-adds of the features of one image."""
    return CHOICES[spec.evaluation.features].multiply_adds(spec.resolution)


def _step_operations(spec: TrainingSpec) -> int:
    return Workload.of(spec, None, 0).training * spec.batch_size


def _difference(one: int, other: int) -> float:
    return abs(math.log(one / other))
