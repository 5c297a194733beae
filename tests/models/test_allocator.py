"""Freed memory is kept or returned; tests that keep it run in their own processes, as this is permanent."""

import subprocess
import sys
from collections.abc import Callable
from inspect import signature

import pytest

from models import allocator
from models.checkpoint import save_checkpoint, save_snapshot
from models.evaluation import Judge

COUNT_FAULTS = """
import resource, torch
from models.allocator import keep_freed_memory
keep_freed_memory()

def tensors():
    return [torch.ones(2**20 + step) for step in range(8)]

for _ in range(16):  # the heap grows until it has a place for each
    tensors()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    tensors()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

COUNT_GIVEN_BACK = """
import resource, threading
from models.allocator import give_back_freed_memory, keep_freed_memory
keep_freed_memory()
filled, over = threading.Event(), threading.Event()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def fill():
    blocks = [b"x" * 2**16 for _ in range(2**10)]
    del blocks[:-1]
    filled.set()
    over.wait()

thread = threading.Thread(target=fill)
thread.start()
filled.wait()
before = resident()
give_back_freed_memory()
print(before - resident())
over.set()
"""

COUNT_RETURNED = """
import resource, torch
from models.allocator import keep_freed_memory, returning_large_blocks
keep_freed_memory()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def kept():
    before = resident()
    torch.ones(2**24)
    return resident() - before

with returning_large_blocks():
    kept()  # the first pages of torch's own code
    print(kept())
print(kept())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_new_tensors_reuse_the_pages_of_freed_ones() -> None:
    shown = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    assert int(shown.stdout) < 4_000  # page faults, for 32,768 pages; one tensor may have moved


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_large_blocks_of_rare_work_are_returned_and_later_ones_kept() -> None:
    shown = subprocess.run([sys.executable, "-c", COUNT_RETURNED], capture_output=True, text=True, check=True)
    within, after = (int(line) for line in shown.stdout.split())
    assert within < 2**20
    assert after > 2**25  # of 64 MiB


def test_large_blocks_are_none_of_its_business_where_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[int] = []
    monkeypatch.setattr(allocator, "_keeps_freed_memory", False)
    monkeypatch.setattr(allocator, "_set", lambda parameter, _: settings.append(parameter))
    with allocator.returning_large_blocks():
        pass
    assert not settings


@pytest.mark.parametrize("rare", [Judge.evaluate, Judge.prepare, save_snapshot, save_checkpoint])
def test_evaluations_and_files_return_their_large_blocks(
    rare: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fails at once, for want of arguments' content, and still leaves the settings of training."""
    settings: list[tuple[int, int]] = []
    monkeypatch.setattr(allocator, "_keeps_freed_memory", True)
    monkeypatch.setattr(allocator, "_set", lambda *setting: settings.append(setting))
    with pytest.raises(AttributeError):
        rare(*[None] * len(signature(rare).parameters))
    assert settings[-2:] == [(allocator._M_MMAP_MAX, allocator._USUALLY_MAPPED), (allocator._M_MMAP_MAX, 0)]


@pytest.mark.skipif(sys.platform != "linux", reason="a call of glibc")
def test_memory_freed_by_another_thread_is_returned_to_the_system() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", COUNT_GIVEN_BACK], capture_output=True, text=True, check=True
    )
    assert int(shown.stdout) > 48 * 2**20  # of 64 MiB
