"""Deletes files of a job that are no longer needed. An owner deletes its own and those of earlier owners.

What the volume refuses is left to a later owner: no work fails for it.
"""

import contextlib
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path

from contract.alias import AliasRecord
from contract.checkpoint import HEADER_KEY
from contract.job import SnapshotFact
from contract.volume import Volume, images_seen_of, token_of, weights_files

KEPT_SNAPSHOTS = 2
MOST_HEADER_BYTES = 2**22
ABANDONED_SECONDS = 3600.0
"""No writer takes this long for one file."""


def drop_torn(volume: Volume, job_id: str, pattern: str) -> None:
    """Delete the files that children were writing when they were killed."""
    for directory in (volume.snapshots(job_id), volume.checkpoints(job_id), volume.previews(job_id)):
        for torn in _found(directory, pattern):
            _drop(torn)


def drop_abandoned(directory: Path) -> None:
    """Delete files in a directory that were left half-written long ago."""
    long_ago = time.time() - ABANDONED_SECONDS
    for torn in _found(directory, ".*.tmp"):
        with contextlib.suppress(OSError):
            if torn.stat().st_mtime < long_ago:
                torn.unlink(missing_ok=True)


def drop_unreported(volume: Volume, job_id: str, published: str, reported: Collection[str]) -> None:
    """Delete what earlier owners wrote in place of this checkpoint but died before reporting.

    If facts were lost, it may have been reported after all, so files that an alias names are kept.
    """
    for path in _found(volume.checkpoints(job_id), f"{images_seen_of(published):012d}-*.safetensors"):
        token = token_of(path.name)
        if token is None or token >= (token_of(published) or 0) or path.name in reported:
            continue
        if not _is_named(volume, path.name):
            _drop(path)


def _is_named(volume: Volume, file: str) -> bool:
    """Whether an alias points to it, or did before. True if that cannot be determined."""
    try:
        aliases = [AliasRecord.of_file(path.read_bytes()) for path in volume.all_aliases().values()]
    except (OSError, ValueError):
        return True
    return any(meaning.file == file for alias in aliases for meaning in alias.meanings)


def drop_superseded(volume: Volume, job_id: str, newest: SnapshotFact) -> None:
    """Delete the snapshots that no resume will need once this one is known."""
    directory = volume.snapshots(job_id)
    with contextlib.suppress(OSError):  # then it is not known which those are
        for name in superseded(_snapshots_in(directory), newest, lambda kept: _best_at(directory / kept)):
            _drop(directory / name)


def superseded(names: list[str], newest: SnapshotFact, best_at: Callable[[str], int | None]) -> list[str]:
    """All but the newest two and the best as of each; none of a later owner's."""
    known = sorted((name for name in names if name <= newest.file), reverse=True)
    bests = {newest.best_images_seen, *map(best_at, known[1:KEPT_SNAPSHOTS])}
    return [name for name in known[KEPT_SNAPSHOTS:] if images_seen_of(name) not in bests]


def drop_unheard(volume: Volume, job_id: str, newest: SnapshotFact, named: Collection[SnapshotFact]) -> None:
    """Delete snapshots of the newest one's owner that no resume needs, before Redis knows the newest.

    Redis refers to one of `named`, which it has acknowledged or may have received; once rebuilt, to the
    newest.
    """
    directory = volume.snapshots(job_id)
    with contextlib.suppress(OSError):
        for name in unheard(_snapshots_in(directory), newest, named, lambda kept: _best_at(directory / kept)):
            _drop(directory / name)


def unheard(
    names: list[str],
    newest: SnapshotFact,
    named: Collection[SnapshotFact],
    best_at: Callable[[str], int | None],
) -> list[str]:
    """The owner's own after the oldest in `named` and before its newest two, except the best as of these."""
    own = [name for name in names if token_of(name) == token_of(newest.file) and name <= newest.file]
    own = sorted(own, reverse=True)
    oldest = min((one.images_seen for one in named), default=0)
    files = {one.file for one in named}
    bests = {newest.best_images_seen, *(one.best_images_seen for one in named)}
    bests |= set(map(best_at, own[1:KEPT_SNAPSHOTS]))
    return [
        name
        for name in own[KEPT_SNAPSHOTS:]
        if name not in files and images_seen_of(name) > oldest and images_seen_of(name) not in bests
    ]


def _best_at(snapshot: Path) -> int | None:
    """The best that a run resumed from it may roll back to; None if it is damaged, for a resume too.

    Raises:
        OSError: the volume does not give it back, now or ever.
    """
    with contextlib.suppress(ValueError, LookupError, TypeError), snapshot.open("rb") as file:
        length = min(int.from_bytes(file.read(8), "little"), MOST_HEADER_BYTES)
        header = json.loads(json.loads(file.read(length))["__metadata__"][HEADER_KEY])
        best_images_seen: int | None = header["watch"]["best_images_seen"]
        return best_images_seen
    return None


def _snapshots_in(directory: Path) -> list[str]:
    """The names of the snapshots in a directory; none if the volume does not tell."""
    with contextlib.suppress(OSError):
        return [path.name for path in weights_files(directory)]
    return []


def _found(directory: Path, pattern: str) -> list[Path]:
    """The files of these names; none if the volume does not tell."""
    with contextlib.suppress(OSError):
        return list(directory.glob(pattern))
    return []


def _drop(path: Path) -> None:
    """Delete a file, if the volume lets us."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
