"""Controls whether the C library's allocator keeps freed memory or returns it to the system.

A training step needs as much memory as the last one has freed. By default glibc maps every large tensor anew
and unmaps it when it is freed, so that the system must find and clear the same pages in every step: 22 ms of
CPU time at 32 px and 61 ms at 64 px (batch 64), on top of the arithmetic. Keeping memory raises the peak,
because the heap has gaps: by a third for large batches.

Evaluations and snapshots are rare, and whether their tensors fit into these gaps is chance: the heap would
grow by up to 300 MiB for good. So their large blocks are mapped and unmapped all the same.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # malloc.h
_NEVER = 2**31 - 1
_USUALLY_MAPPED = 65_536  # glibc's own limit
_LARGE = 8 * 2**20

_keeps_freed_memory = False


def keep_freed_memory() -> None:
    """Never return memory to the system; for a process that trains and then exits.

    Does nothing unless the C library is glibc.
    """
    global _keeps_freed_memory
    _set(_M_MMAP_MAX, 0)
    _set(_M_TRIM_THRESHOLD, _NEVER)
    _keeps_freed_memory = True


@contextmanager
def returning_large_blocks() -> Iterator[None]:
    """Return blocks of 8 MiB or more that are allocated in this context to the system once they are freed.

    Does nothing where all freed memory is returned.
    """
    if not _keeps_freed_memory:
        yield
        return
    _set(_M_MMAP_THRESHOLD, _LARGE)
    _set(_M_MMAP_MAX, _USUALLY_MAPPED)
    try:
        yield
    finally:
        _set(_M_MMAP_MAX, 0)


def _set(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(parameter, value)


def give_back_freed_memory() -> None:
    """Return freed memory to the system now, from the heaps of all threads.

    Does nothing unless the C library is glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
