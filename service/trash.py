"""Removes directories: first moves them to the trash, atomically, even while something writes to them."""

import shutil
import uuid

from contract.volume import Volume, entries


def discard(volume: Volume, record_id: str) -> None:
    """Remove a record's directory; whatever cannot be removed is swept at the next start."""
    home = volume.home(record_id)
    discarded = volume.trash / f"{record_id}-{uuid.uuid4().hex[:8]}"
    try:
        home.rename(discarded)
    except OSError:  # a full disk has no room for the trash, yet space must be freed
        discarded = home
    shutil.rmtree(discarded, ignore_errors=True)


def sweep(volume: Volume) -> None:
    """Finish removals that a killed gateway left incomplete."""
    for discarded in entries(volume.trash):
        shutil.rmtree(discarded, ignore_errors=True)
