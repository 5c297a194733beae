"""How fast jobs ran on this trainer, overheard from its children; kept across restarts."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from contract.durable import replace_durably
from contract.plugin import Frozen
from contract.training import TrainingSpec
from worker import link
from worker.aside import unless_it_hangs
from worker.child import ALONE, Child
from worker.orders import InTraining, Reading, TrainingOrder

logger = logging.getLogger(__name__)

KEPT = 16
LEAST_SECONDS = 3.0
"""A pace measured over less time is mostly that of the first steps."""

STEP = {
    "architecture",
    "objective",
    "terms",
    "augmentation",
    "mirror",
    "resolution",
    "channels",
    "batch_size",
    "devices",
    "precision",
    "evaluation",
}
"""The fields of a spec that decide how long a step takes, and how often the run is judged."""


def has_steps_of(one: TrainingSpec, other: TrainingSpec) -> bool:
    """Whether steps of both take equally long."""
    return one.model_dump(include=STEP) == other.model_dump(include=STEP)


class _Kept(Frozen):
    """The content of the file."""

    format_version: int = 1
    readings: tuple[Reading, ...] = ()


@dataclass
class _Current:
    """The job in training."""

    order: TrainingOrder
    process: int
    began: float
    environment: dict[str, Any] | None = None
    first_images: int | None = None
    start_up_seconds: float | None = None
    images: int = 0
    images_per_second: float = 0.0


class Readings:
    """The newest reading per kind of step. Written by the supervisor's thread, read by the estimator's."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._current: _Current | None = None
        self._readings = _read(path)

    @property
    def in_training(self) -> InTraining | None:
        with self._lock:
            current = self._current
            return InTraining(process=current.process, environment=current.environment) if current else None

    def all(self) -> tuple[Reading, ...]:
        """All readings, the newest last. The job in training is included once its pace is known."""
        with self._lock:
            return _with(self._readings, self._reading())

    def begin(self, order: str, process: int) -> None:
        """Note that a child was given a job."""
        with self._lock:
            self._current = _Current(TrainingOrder.model_validate_json(order), process, self._clock())

    def hear(self, message: link.Message) -> None:
        """Read the pace from a child's message."""
        with self._lock:
            if self._current is None:
                return
            match message:
                case link.Computing(environment=environment):
                    self._current.environment = environment
                case link.Advanced(progress=progress) if progress.images_per_second:
                    self._advance(self._current, progress.done, progress.images_per_second)

    def end(self) -> None:
        """Save the reading of a child that has ended. If the disk refuses, only that is lost."""
        with self._lock:
            reading, self._current = self._reading(), None
            if reading is None:
                return
            self._readings = _with(self._readings, reading)
        content = _Kept(readings=self._readings).model_dump_json().encode()
        try:
            unless_it_hangs(lambda: replace_durably(self._path, content))
        except OSError as error:
            logger.warning("the pace of %s is not kept: %s", reading.job, error)

    def _advance(self, current: _Current, images: int, images_per_second: float) -> None:
        resumed_at = current.order.snapshot.images_seen if current.order.snapshot else 0
        if current.first_images is None:
            current.first_images = resumed_at
            if not resumed_at:
                elapsed = self._clock() - current.began
                current.start_up_seconds = max(0.0, elapsed - images / images_per_second)
        current.images, current.images_per_second = images, images_per_second

    def _reading(self) -> Reading | None:
        current = self._current
        if current is None or current.environment is None or current.first_images is None:
            return None
        seconds = (current.images - current.first_images) / current.images_per_second
        if seconds < LEAST_SECONDS:
            return None
        return Reading(
            job=current.order.job,
            spec=current.order.spec,
            environment=current.environment,
            images_per_second=current.images_per_second,
            seconds=seconds,
            start_up_seconds=current.start_up_seconds,
        )


class OverheardChild(Child):
    """A trainer's child whose messages are also read for its pace."""

    _readings: Readings

    def overheard_by(self, readings: Readings) -> Self:
        self._readings = readings
        return self

    def begin(self, work_name: str, order: str, place: link.Place = ALONE) -> None:
        self._readings.begin(order, self.process_id)
        super().begin(work_name, order, place)

    def messages(self, timeout_seconds: float) -> list[link.Message]:
        heard = super().messages(timeout_seconds)
        for message in heard:
            self._readings.hear(message)
        return heard

    def end(self, patience_seconds: float | None = None) -> int:
        code = super().end(patience_seconds)
        self._readings.end()
        return code


def _with(readings: tuple[Reading, ...], newest: Reading | None) -> tuple[Reading, ...]:
    if newest is None:
        return readings
    others = (
        one
        for one in readings
        if one.environment != newest.environment or not has_steps_of(one.spec, newest.spec)
    )
    return (*others, newest)[-KEPT:]


def _read(path: Path) -> tuple[Reading, ...]:
    try:
        return _Kept.model_validate_json(path.read_bytes()).readings
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:  # another version wrote it, or it is damaged
        logger.warning("%s cannot be read, and is begun anew: %s", path, error)
        return ()
