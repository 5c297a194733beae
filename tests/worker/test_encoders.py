"""What an encoder writes does not depend on what its memory held before."""

import os
import subprocess
import sys

from tests.conftest import proof

SHEETS = proof(6, 300)
FILLS = (1, 170, 0, 85)[: proof(2, 4)]
"""What glibc's malloc fills memory with (the complement of it); other allocators ignore this."""


def test_bytes_do_not_depend_on_uninitialised_memory() -> None:
    hashes = {_hash_with_memory_of(fill) for fill in FILLS}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64


def _hash_with_memory_of(fill: int) -> str:
    memory = {"PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": str(fill)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "tests.worker.encoding_child", str(SHEETS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **memory},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
