"""Removes directories: first moves them to the trash, atomically, even while something writes to them."""

import shutil
import uuid

from contract.volume import Volume, entries, is_gone


def discard(volume: Volume, record_id: str) -> None:
    """Remove a record's directory; what stays in the trash is swept at the next start.

    Raises:
        OSError: the directory is still there.
    """
    home = volume.home(record_id)
    discarded = volume.trash / f"{record_id}-{uuid.uuid4().hex[:8]}"
    try:
        home.rename(discarded)
    except OSError:  # a full disk has no room for the trash, yet space must be freed
        shutil.rmtree(home, ignore_errors=True)
        if not is_gone(home):
            raise
    else:
        shutil.rmtree(discarded, ignore_errors=True)


def sweep(volume: Volume) -> None:
    """Finish removals that a killed gateway left incomplete."""
    for discarded in entries(volume.trash):
        shutil.rmtree(discarded, ignore_errors=True)
