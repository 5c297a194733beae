"""What the kernel reports about memory: how much is available, and whether it killed a process for it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from contract.devices import Device

_KILLS = ("sys/fs/cgroup/memory.events", "sys/fs/cgroup/memory/memory.oom_control")
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def oom_kills(root: Path = Path("/")) -> int | None:
    """The number of out-of-memory kills in this control group; None if the kernel does not report it."""
    for path in _KILLS:
        for line in _lines(root / path):
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def available_bytes(device: Device, root: Path = Path("/")) -> int:
    """Memory that training on `device` could still use. `root` is the root of the file system."""
    if device == "cuda":
        from models.memory import free_on_gpu  # not at the top: supervisors, without torch, import this

        return free_on_gpu()
    groups = [_left_in_group(group) for group in _control_groups(root)]
    return max(min([_left_on_machine(root), *(left for left in groups if left is not None)]), 0)


def held_bytes(process: int, root: Path = Path("/")) -> int:
    """The private memory of a process, which its exit releases; 0 if the kernel does not report it."""
    for line in _lines(root / "proc" / str(process) / "smaps_rollup"):
        name, _, amount = line.partition(":")
        if name == "Private_Dirty":
            return int(amount.split()[0]) * 1024
    return 0


def _left_on_machine(root: Path) -> int:
    """What the kernel could allocate without swapping; if it does not report that, all physical memory."""
    for line in _lines(root / "proc/meminfo"):
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _control_groups(root: Path) -> Iterator[Path]:
    """The memory control groups (versions 1 and 2) of this process, innermost first.

    A container may report its group's path on the host, yet mount the group itself at the top.
    """
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            top = root / "sys/fs/cgroup" / controllers
            inner = PurePosixPath(path.lstrip("/"))
            yield from (top / group for group in (inner, *inner.parents) if (top / group).is_dir())


def _left_in_group(group: Path) -> int | None:
    """A group's limit less its usage, not counting inactive file cache, which the kernel frees on demand."""
    for limit, usage, cache in _GROUP_FILES:
        allowed, used = _number(group / limit), _number(group / usage)
        if allowed is not None and used is not None:
            return allowed - used + _counters(group / "memory.stat").get(cache, 0)
    return None


def _number(path: Path) -> int | None:
    """The number in a file; None if the file is missing or says `max`."""
    text = "".join(_lines(path))
    return int(text) if text.isdecimal() else None


def _counters(path: Path) -> Mapping[str, int]:
    pairs = (line.split() for line in _lines(path))
    return {name: int(count) for name, count in pairs}


def _lines(path: Path) -> list[str]:
    """The lines of a kernel file; none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
