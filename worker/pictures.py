"""The pictures of a run. Each of its processes reads them, and waits for a volume that is away or fails."""

import contextlib
import logging
from collections.abc import Callable

from contract.dataset import Manifest
from contract.durable import lack
from contract.training import TrainingSpec
from contract.volume import Volume
from models.datasets.arrays import Pixels, array
from models.datasets.source import Source, UnreadableError
from models.silence import silent
from worker.room import Room

logger = logging.getLogger(__name__)

READ_BYTES = 16 * 2**20


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


def discard_unreadable(
    spec: TrainingSpec, volume: Volume, room: Room, show_life: Callable[[], None] = silent
) -> None:
    """Read the whole array, and if the volume does not give it back, delete it: it is then derived anew.

    A run maps it. Where a read waits for the volume, a page that cannot be read kills the process (SIGBUS).
    """
    path = volume.array(spec.dataset, spec.form)
    if not room.read(path.exists, path):
        return
    try:
        with contextlib.closing(Source(path, room.read)) as source:
            while source.read(READ_BYTES):
                show_life()
    except UnreadableError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return  # another trainer has deleted it
        if lack(error.__cause__) is None:  # it may be this host's fault
            raise
        logger.warning("%s: it is derived anew", error)
        room.insist(lambda _: path.unlink(missing_ok=True), path, 0)
