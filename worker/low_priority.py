"""Makes a request's child yield to jobs in training on the same machine."""

import contextlib
import os
from pathlib import Path

import torch

NICENESS = 5
"""Gives a third of the share of a core that a job in training gets."""


def die_first() -> None:
    """Make this the first process that the kernel kills when memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def leave_the_cores() -> None:
    """Compute on one thread, at low priority."""
    os.nice(NICENESS)
    torch.set_num_threads(1)
