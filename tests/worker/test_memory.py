"""Memory figures, read from files in the kernel's formats."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from worker.memory import available_bytes, held_bytes, oom_kills

Machine = Callable[..., Path]

MIB = 2**20


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A made-up root with 8 GiB available and the given files."""

    def write(files: dict[str, str] | None = None) -> Path:
        told = {"proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n", **(files or {})}
        for name, text in told.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def group_v2(limit: str, used: int, cache: int = 0) -> dict[str, str]:
    return {
        "memory.max": f"{limit}\n",
        "memory.current": f"{used}\n",
        "memory.stat": f"anon {used - cache}\ninactive_file {cache}\n",
    }


def inside(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


def test_without_a_limit_the_machine_decides(machine: Machine) -> None:
    assert available_bytes("cpu", machine()) == 8 * 1024 * MIB


def test_limit_of_the_group_decides_when_it_is_tighter(machine: Machine) -> None:
    files = {"proc/self/cgroup": "0::/\n"} | inside("sys/fs/cgroup", group_v2(f"{512 * MIB}", 100 * MIB))
    assert available_bytes("cpu", machine(files)) == 412 * MIB


def test_machine_decides_when_the_limit_is_wider(machine: Machine) -> None:
    files = {"proc/self/cgroup": "0::/\n"} | inside("sys/fs/cgroup", group_v2(f"{2**44}", 100 * MIB))
    assert available_bytes("cpu", machine(files)) == 8 * 1024 * MIB


def test_group_without_a_limit_limits_nothing(machine: Machine) -> None:
    files = {"proc/self/cgroup": "0::/\n"} | inside("sys/fs/cgroup", group_v2("max", 100 * MIB))
    assert available_bytes("cpu", machine(files)) == 8 * 1024 * MIB


def test_idle_file_cache_counts_as_available(machine: Machine) -> None:
    group = group_v2(f"{512 * MIB}", 500 * MIB, cache=300 * MIB)
    files = {"proc/self/cgroup": "0::/\n"} | inside("sys/fs/cgroup", group)
    assert available_bytes("cpu", machine(files)) == 312 * MIB


def test_the_tightest_of_nested_groups_decides(machine: Machine) -> None:
    files = {"proc/self/cgroup": "0::/outer/inner\n"}
    files |= inside("sys/fs/cgroup/outer/inner", group_v2(f"{900 * MIB}", 100 * MIB))
    files |= inside("sys/fs/cgroup/outer", group_v2(f"{600 * MIB}", 200 * MIB))
    assert available_bytes("cpu", machine(files)) == 400 * MIB


def test_group_of_a_container_is_found_at_the_top(machine: Machine) -> None:
    """The path is the host's, and does not exist in the container."""
    files = {"proc/self/cgroup": "0::/system.slice/docker-1f.scope\n"}
    files |= inside("sys/fs/cgroup", group_v2(f"{512 * MIB}", 100 * MIB))
    assert available_bytes("cpu", machine(files)) == 412 * MIB


def test_version_one_of_cgroups_is_supported(machine: Machine) -> None:
    group = {
        "memory.limit_in_bytes": f"{512 * MIB}\n",
        "memory.usage_in_bytes": f"{200 * MIB}\n",
        "memory.stat": f"cache 1\ntotal_inactive_file {50 * MIB}\n",
    }
    files = {"proc/self/cgroup": "5:cpu:/\n4:memory:/jobs/1\n0::/\n"}
    files |= inside("sys/fs/cgroup/memory/jobs/1", group)
    assert available_bytes("cpu", machine(files)) == 362 * MIB


def test_group_beyond_its_limit_has_nothing_left(machine: Machine) -> None:
    files = {"proc/self/cgroup": "0::/\n"} | inside("sys/fs/cgroup", group_v2(f"{512 * MIB}", 600 * MIB))
    assert available_bytes("cpu", machine(files)) == 0


def test_available_memory_of_this_machine_is_at_most_its_total() -> None:
    assert 0 < available_bytes("cpu") <= psutil.virtual_memory().total


def test_total_memory_is_available_if_the_system_reports_nothing(tmp_path: Path) -> None:
    assert available_bytes("cpu", tmp_path) == psutil.virtual_memory().total


@pytest.mark.parametrize("path", ["sys/fs/cgroup/memory.events", "sys/fs/cgroup/memory/memory.oom_control"])
def test_oom_kills_are_counted(machine: Machine, path: str) -> None:
    assert oom_kills(machine({path: "oom 5\noom_kill 3\n"})) == 3


def test_oom_kills_are_unknown_if_the_kernel_does_not_count_them(machine: Machine) -> None:
    assert oom_kills(machine()) is None


def test_held_memory_is_the_private_memory_of_a_process(machine: Machine) -> None:
    files = {
        "proc/7/smaps_rollup": "5000-7000 ---p 0 00:00 0 [rollup]\nRss: 900 kB\nPrivate_Dirty:   300 kB\n"
    }
    assert held_bytes(7, machine(files)) == 300 * 1024
    assert held_bytes(8, machine(files)) == 0
