"""Work on one generator that takes torch: how a gateway asks the trainers for it, and what one answers."""

from pathlib import Path
from typing import Literal

from contract.identifiers import IMPORTED, Digest
from contract.job import Failure
from contract.plugin import Frozen
from contract.sampling import CheckpointPlace
from contract.volume import Volume

Program = Literal["onnx", "torch-export"]
ExportFormat = Literal["safetensors", "onnx", "torch-export"]
Task = Literal["inspect", "onnx", "torch-export"]
"""Look through a file that somebody sent, or make a program of a generator."""

SUFFIXES: dict[ExportFormat, str] = {"safetensors": "safetensors", "onnx": "onnx", "torch-export": "pt2"}


class WorkshopAsk(Frozen):
    """Gateway to trainers. `deadline_ms` is Redis time; after it nobody waits for the answer."""

    id: str
    deadline_ms: int
    task: Task
    digest: Digest
    place: CheckpointPlace


class WorkshopAnswer(Frozen):
    """Trainer to gateway: done, or why not. What was made lies on the volume."""

    error: Failure | None = None


def exports(volume: Volume, place: CheckpointPlace) -> Path:
    """Where the programs of a generator lie: they go with what it belongs to."""
    return (volume.imports if place.job == IMPORTED else volume.job(place.job)) / "exports"


def export(volume: Volume, place: CheckpointPlace, digest: str, program: Program) -> Path:
    """The file of one of them."""
    return exports(volume, place) / f"{digest.removeprefix('sha256:')}.{SUFFIXES[program]}"
