"""What a volume lacks when it refuses a write or a read, in words for its users."""

import errno
import os
from pathlib import Path

from contract.durable import LACKS
from contract.job import Shortage


def shortage(error: OSError, path: Path, needed_bytes: int, since_ms: int) -> Shortage:
    """What an error in writing to `path`, or if no bytes are needed in reading it, says about the volume.

    Raises:
        OSError: the same, if waiting does not cure it.
    """
    code = LACKS.get(error.errno)
    if code is None:
        raise error
    found = _statistics(path)
    free_bytes = found.f_bavail * found.f_frsize if found else None
    needed = (
        f"{needed_bytes:,} bytes are needed in {path.parent}" if needed_bytes else f"{path} is to be read"
    )
    if code == "volume_read_only":
        detail = f"The volume cannot be written ({error.strerror}): {needed}. Make it writable."
    elif code == "volume_failing":
        detail = f"The volume fails ({error.strerror}): {needed}. Check the disk; the kernel log has details."
    elif error.errno == errno.EDQUOT:
        detail = f"The volume's quota is used up: {needed}. Delete jobs or datasets, or raise the quota."
    elif found and found.f_files and not found.f_favail:
        detail = f"The volume holds as many files as it can: {needed}. Delete jobs or datasets."
    else:
        detail = (
            f"The volume is full: {needed}, and {free_bytes or 0:,} are free. "
            "Delete jobs or datasets, or make the volume larger."
        )
    detail += " The work then continues by itself."
    return Shortage(
        code=code, detail=detail, needed_bytes=needed_bytes, free_bytes=free_bytes, since_ms=since_ms
    )


def require_free(path: Path, needed_bytes: int) -> None:
    found = _statistics(path)
    if found and found.f_blocks and found.f_bavail * found.f_frsize < needed_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _statistics(path: Path) -> os.statvfs_result | None:
    """Statistics of the file system that `path` would be on, if available."""
    for place in path.parents:
        try:
            return os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None
