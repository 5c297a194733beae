"""Where directories go to be removed: out of their place in one step, whoever writes there meanwhile."""

import shutil
import uuid
from pathlib import Path

from contract.volume import Volume


def trash(volume: Volume) -> Path:
    """On the same file system, but where no rebuild looks for records."""
    return volume.root / "trash"


def discard(volume: Volume, record_id: str) -> None:
    """Remove a record's directory; what of it resists is swept at the next start."""
    home = volume.home(record_id)
    discarded = trash(volume) / f"{record_id}-{uuid.uuid4().hex[:8]}"
    try:
        discarded.parent.mkdir(parents=True, exist_ok=True)
        home.rename(discarded)
    except OSError:  # a full disk has no room for the trash, yet must be emptied
        discarded = home
    shutil.rmtree(discarded, ignore_errors=True)


def sweep(volume: Volume) -> None:
    """Remove what a killed gateway had only begun to remove."""
    shutil.rmtree(trash(volume), ignore_errors=True)
