"""Files of a job that nobody will ask for again. An owner drops its own and those of owners before it."""

import contextlib
from collections.abc import Collection
from pathlib import Path

from contract.job import SnapshotFact
from contract.volume import Volume, images_seen_of, token_of

KEPT_SNAPSHOTS = 2


def drop_torn(volume: Volume, job_id: str, pattern: str) -> None:
    """What children were writing when they were killed."""
    for directory in (volume.snapshots(job_id), volume.checkpoints(job_id), volume.previews(job_id)):
        for torn in directory.glob(pattern):
            _drop(torn)


def drop_untold(volume: Volume, job_id: str, published: str, told: Collection[str]) -> None:
    """What earlier owners wrote in place of this checkpoint, and did not live to tell of.

    Where facts were lost it may have been told of: then what an alias names stays.
    """
    for path in volume.checkpoints(job_id).glob(f"{images_seen_of(published):012d}-*.safetensors"):
        token = token_of(path.name)
        if token is None or token >= (token_of(published) or 0) or path.name in told:
            continue
        if not _is_named(volume, path.name):
            _drop(path)


def _is_named(volume: Volume, file: str) -> bool:
    """Whether an alias means it, or has meant it before; where that cannot be told it counts as named."""
    try:
        return any(file in alias.read_text() for alias in volume.aliases.glob("*.json"))
    except OSError:
        return True


def drop_superseded(volume: Volume, job_id: str, newest: SnapshotFact) -> None:
    """The snapshots that no resume will ask for once this one is known."""
    names = [path.name for path in volume.snapshots(job_id).glob("*.safetensors")]
    for name in superseded(names, newest):
        _drop(volume.snapshot(job_id, name))


def superseded(names: list[str], newest: SnapshotFact) -> list[str]:
    """All but the newest two and the best; and none of an owner that came later."""
    known = sorted((name for name in names if name <= newest.file), reverse=True)
    return [name for name in known[KEPT_SNAPSHOTS:] if images_seen_of(name) != newest.best_images_seen]


def _drop(path: Path) -> None:
    """On a volume that does not let go of it, some later owner drops it."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
