"""The pictures of a run. Each of its processes reads them, and waits for a volume that is away or fails."""

from collections.abc import Callable

from contract.dataset import Manifest
from contract.training import TrainingSpec
from contract.volume import Volume
from models.datasets.arrays import Pixels, array
from models.silence import silent
from worker.room import Room


def manifest_of(spec: TrainingSpec, volume: Volume, room: Room) -> Manifest:
    """The manifest of the dataset that is trained on."""
    path = volume.manifest(spec.dataset)
    return Manifest.model_validate_json(room.read(path.read_bytes, path))


def pictures_of(
    spec: TrainingSpec,
    manifest: Manifest,
    volume: Volume,
    room: Room,
    report: Callable[[int, int], None] = silent,
) -> Pixels:
    """Its pictures as this run needs them, as `array` gives them."""
    return array(volume, manifest, spec.form, report, room.insist, room.read)
