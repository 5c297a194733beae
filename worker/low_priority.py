"""How the child of an errand stands back behind the jobs in training on the same machine."""

import contextlib
import os
from pathlib import Path

import torch

NICENESS = 5
"""A third of what a job in training gets of a core."""


def die_first() -> None:
    """Be the first that the kernel kills for memory."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def leave_the_cores() -> None:
    """Compute on one thread, when there is nothing else to do."""
    os.nice(NICENESS)
    torch.set_num_threads(1)
