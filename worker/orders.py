"""What a supervisor hands its child: everything the work needs, as JSON."""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from contract.dataset import DatasetSpec
from contract.estimate import EstimateAsk
from contract.job import CheckpointFact, Record, SnapshotFact
from contract.plugin import Frozen
from contract.training import TrainingSpec
from contract.volume import Volume
from contract.workshop import WorkshopAsk
from worker.facts import read_facts
from worker.settings import Settings

Spec = TypeVar("Spec", bound=Frozen)


class ForeignSpecError(Exception):
    """The spec says something that only another version understands."""


class Reading(Frozen):
    """How fast a job went by on a trainer, evaluations and all that interrupts a run included."""

    job: str
    spec: TrainingSpec
    environment: dict[str, Any]
    images_per_second: float
    seconds: float
    """Over which that was read."""
    start_up_seconds: float | None
    """From the order to the first step; None of a job that was resumed."""


class TrainingOrder(Frozen):
    """Train this job, from its snapshot if it has one."""

    job: str
    token: int
    spec: TrainingSpec
    data_root: Path
    device: Literal["auto", "cpu", "cuda"]
    threads: int
    snapshot_seconds: float
    snapshot: SnapshotFact | None
    checkpoints: tuple[CheckpointFact, ...]
    environment: dict[str, Any] | None
    judged_images_seen: int = 0
    """Up to where the record has been told what came out of looking after the run."""
    previewed_images_seen: int = 0
    """Up to where it has been told of previews."""

    @classmethod
    def for_record(cls, record: Record, settings: Settings) -> "TrainingOrder":
        facts = read_facts(Volume(settings.data_root), record.id)
        return cls(
            job=record.id,
            token=record.token,
            spec=_understood(TrainingSpec, record.spec),
            data_root=settings.data_root,
            device=settings.device,
            threads=training_threads(settings, record.devices),
            snapshot_seconds=settings.snapshot_seconds,
            snapshot=record.snapshot,
            checkpoints=facts.checkpoints if facts else (),
            environment=record.environment,
            judged_images_seen=max(record.judged_images_seen, facts.judged_images_seen if facts else 0),
            previewed_images_seen=record.previewed_images_seen,
        )


class InTraining(Frozen):
    """The job that its trainer trains meanwhile."""

    process: int
    environment: dict[str, Any] | None
    """Once it has been told."""


class EstimateOrder(Frozen):
    """Foretell what this job would take on this trainer."""

    ask: EstimateAsk
    worker: str
    data_root: Path
    device: Literal["auto", "cpu", "cuda"]
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
    def for_record(cls, record: Record, settings: Settings) -> "PreparingOrder":
        spec = _understood(DatasetSpec, record.spec)
        return cls(dataset=record.id, spec=spec, data_root=settings.data_root)


def _understood(kind: type[Spec], spec: str) -> Spec:
    """A gateway has found it in order: where it cannot be read, that was one of another version.

    Raises:
        ForeignSpecError: it is left to workers of that version.
    """
    try:
        return kind.model_validate_json(spec)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ForeignSpecError(f"its spec is of another version: {where}: {first['msg']}") from error


def training_threads(settings: Settings, devices: int) -> int:
    """The CPU threads of each process that trains: their share of those set, or of the cores to be had."""
    return max(1, (settings.threads or _cores()) // devices)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
