"""The orders that a supervisor gives its children: everything the work needs, as JSON."""

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from contract.dataset import DatasetSpec
from contract.devices import DeviceChoice
from contract.estimate import EstimateAsk
from contract.job import CheckpointFact, Record, SnapshotFact
from contract.plugin import Frozen
from contract.training import TrainingSpec
from contract.workshop import WorkshopAsk
from worker.facts import Facts
from worker.settings import Settings

Spec = TypeVar("Spec", bound=Frozen)


class ForeignSpecError(Exception):
    """The spec contains something that only another version understands."""


class Reading(Frozen):
    """How fast a job ran on a trainer, including evaluations and everything else that interrupts a run."""

    job: str
    spec: TrainingSpec
    environment: dict[str, Any]
    images_per_second: float
    seconds: float
    """The time over which the pace was measured."""
    start_up_seconds: float | None
    """From the order to the first step; None if the job was resumed."""


class TrainingOrder(Frozen):
    """Train this job, from its snapshot if it has one."""

    job: str
    token: int
    spec: TrainingSpec
    data_root: Path
    device: DeviceChoice
    threads: int
    snapshot_seconds: float
    snapshot: SnapshotFact | None
    checkpoints: tuple[CheckpointFact, ...]
    judged_images_seen: int = 0
    """Up to where judgements have been reported to the record."""
    previewed_images_seen: int = 0
    """Up to where previews have been reported to it."""
    environment: dict[str, Any] | None = None
    """Where the record's results were computed; None if it has none."""
    deaths: int = 0
    """How many children have died over it since the snapshot."""

    @classmethod
    def for_record(cls, record: Record, facts: Facts, settings: Settings) -> "TrainingOrder":
        judged_images_seen = max(record.judged_images_seen, facts.judged_images_seen)
        return cls(
            job=record.id,
            token=record.token,
            spec=_understood(TrainingSpec, record.spec),
            data_root=settings.data_root,
            device=settings.device,
            threads=training_threads(settings, record.devices),
            snapshot_seconds=settings.snapshot_seconds,
            snapshot=record.snapshot,
            checkpoints=facts.checkpoints,
            judged_images_seen=judged_images_seen,
            previewed_images_seen=record.previewed_images_seen,
            environment=record.environment if facts.checkpoints or judged_images_seen else None,
            deaths=record.deaths,
        )


class DeviceOrder(Frozen):
    """Find out whether the machine has these devices."""

    device: DeviceChoice
    devices: int


class InTraining(Frozen):
    """The job that the trainer is training meanwhile."""

    process: int
    environment: dict[str, Any] | None
    """None until the child has reported it."""


class EstimateOrder(Frozen):
    """Estimate what this job would take on this trainer."""

    ask: EstimateAsk
    worker: str
    data_root: Path
    device: DeviceChoice
    threads: int
    readings: tuple[Reading, ...]
    training: InTraining | None


class WorkshopOrder(Frozen):
    """Work on this generator."""

    ask: WorkshopAsk
    data_root: Path


class PreparingOrder(Frozen):
    """Decode this dataset."""

    dataset: str
    spec: DatasetSpec
    data_root: Path

    @classmethod
    def for_record(cls, record: Record, _facts: Facts, settings: Settings) -> "PreparingOrder":
        spec = _understood(DatasetSpec, record.spec)
        return cls(dataset=record.id, spec=spec, data_root=settings.data_root)


def _understood(kind: type[Spec], spec: str) -> Spec:
    """Parse a spec. A gateway has validated it: if it is invalid here, the gateway is of another version.

    Raises:
        ForeignSpecError: the record is left to workers of that version.
    """
    try:
        return kind.model_validate_json(spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ForeignSpecError(f"its spec is of another version: {where}: {first['msg']}") from error


def training_threads(settings: Settings, devices: int) -> int:
    """The CPU threads of each training process: its share of the setting, or of the available cores."""
    return max(1, (settings.threads or _cores()) // devices)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
