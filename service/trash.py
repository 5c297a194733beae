"""Removes directories: first moves them to the trash, atomically, even while something writes to them."""

import shutil
import uuid
from pathlib import Path

from contract.volume import Volume


def trash(volume: Volume) -> Path:
    """The trash directory: on the same file system, but where no rebuild looks for records."""
    return volume.root / "trash"


def discard(volume: Volume, record_id: str) -> None:
    """Remove a record's directory; whatever cannot be removed is swept at the next start."""
    home = volume.home(record_id)
    discarded = trash(volume) / f"{record_id}-{uuid.uuid4().hex[:8]}"
    try:
        discarded.parent.mkdir(parents=True, exist_ok=True)
        home.rename(discarded)
    except OSError:  # a full disk has no room for the trash, yet space must be freed
        discarded = home
    shutil.rmtree(discarded, ignore_errors=True)


def sweep(volume: Volume) -> None:
    """Finish removals that a killed gateway left incomplete."""
    shutil.rmtree(trash(volume), ignore_errors=True)
