"""Work on one generator that needs torch: the gateway's request to the trainers, and the answer."""

from pathlib import Path
from typing import Literal

from contract.identifiers import IMPORTED, Digest
from contract.sampling import CheckpointPlace
from contract.trainers import TrainerAnswer, TrainerAsk
from contract.volume import Volume

Program = Literal["onnx", "torch-export"]
ExportFormat = Literal["safetensors", "onnx", "torch-export"]
Task = Literal["inspect", "onnx", "torch-export"]
"""Inspect an imported file, or export a generator as a program."""

SUFFIXES: dict[ExportFormat, str] = {"safetensors": "safetensors", "onnx": "onnx", "torch-export": "pt2"}


class WorkshopAsk(TrainerAsk):
    """Asks for a task on one generator."""

    task: Task
    digest: Digest
    place: CheckpointPlace


class WorkshopAnswer(TrainerAnswer):
    """Done, or why not. Exports are on the volume."""


def exports(volume: Volume, place: CheckpointPlace) -> Path:
    """The directory of a generator's exports, which are deleted with its job or import."""
    return (volume.imports if place.job == IMPORTED else volume.job(place.job)) / "exports"


def export(volume: Volume, place: CheckpointPlace, digest: str, program: Program) -> Path:
    """The file of one export."""
    return exports(volume, place) / f"{digest.removeprefix('sha256:')}.{SUFFIXES[program]}"


def checksum(program: Path) -> Path:
    """The file with the digest of an export's content, written before the export."""
    return program.with_name(f"{program.name}.sha256")


def remove_program(program: Path) -> None:
    """Remove an export, if it exists, and its checksum."""
    program.unlink(missing_ok=True)
    checksum(program).unlink(missing_ok=True)
