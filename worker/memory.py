"""Whether the kernel has killed something of ours for memory: the evidence, not the signal."""

from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/memory.events")
_CGROUP_V1 = Path("/sys/fs/cgroup/memory/memory.oom_control")


def oom_kills() -> int | None:
    """How often this control group has been through an out-of-memory kill; None where that is not told."""
    for path in (_CGROUP_V2, _CGROUP_V1):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None
