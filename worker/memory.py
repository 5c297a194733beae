"""What the kernel says of memory: how much there is to have, and whether one of ours was killed for it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal

_KILLS = ("sys/fs/cgroup/memory.events", "sys/fs/cgroup/memory/memory.oom_control")
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def oom_kills(root: Path = Path("/")) -> int | None:
    """How often this control group has been through an out-of-memory kill; None where that is not told."""
    for path in _KILLS:
        for line in _lines(root / path):
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def available_bytes(device: Literal["cpu", "cuda"], root: Path = Path("/")) -> int:
    """Memory that training on `device` could still take. `root` is where the system's files begin."""
    if device == "cuda":
        from models.memory import free_on_gpu  # not at the top: a supervisor, which has no torch, is here too

        return free_on_gpu()
    groups = [_left_in_group(group) for group in _control_groups(root)]
    return max(min([_left_on_machine(root), *(left for left in groups if left is not None)]), 0)


def held_bytes(process: int, root: Path = Path("/")) -> int:
    """The memory that a process alone holds, which its end gives back; 0 where that is not told."""
    for line in _lines(root / "proc" / str(process) / "smaps_rollup"):
        name, _, amount = line.partition(":")
        if name == "Private_Dirty":
            return int(amount.split()[0]) * 1024
    return 0


def _left_on_machine(root: Path) -> int:
    """What the kernel could hand out without swapping; where that is not told, all the memory there is."""
    for line in _lines(root / "proc/meminfo"):
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _control_groups(root: Path) -> Iterator[Path]:
    """The memory control groups that this process is in, each inside the next, version 2 and 1.

    A container may show the path that its group has on the host, and mount the group itself at the top.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / "sys/fs/cgroup" / controllers
            inner = PurePosixPath(path.lstrip("/"))
            yield from (top / group for group in (inner, *inner.parents) if (top / group).is_dir())


def _left_in_group(group: Path) -> int | None:
    """A group's limit less what it uses; file cache that was not used lately goes when it is in the way."""
    for limit, usage, cache in _GROUP_FILES:
        allowed, used = _number(group / limit), _number(group / usage)
        if allowed is not None and used is not None:
            return allowed - used + _counters(group / "memory.stat").get(cache, 0)
    return None


def _number(path: Path) -> int | None:
    """The number in a file; None for a file that is not there, and for `max`."""
    text = "".join(_lines(path))
    return int(text) if text.isdecimal() else None


def _counters(path: Path) -> Mapping[str, int]:
    pairs = (line.split() for line in _lines(path))
    return {name: int(count) for name, count in pairs}


def _lines(path: Path) -> list[str]:
    """The lines of a file of the kernel's, none where it has no such file."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
