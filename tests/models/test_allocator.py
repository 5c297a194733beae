"""Each in a process of its own: the setting stays for good."""

import subprocess
import sys

import pytest

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


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_tensors_find_the_pages_that_others_have_left() -> None:
    shown = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
    assert int(shown.stdout) < 4_000  # of 32,768 that they fill; one tensor may have moved
