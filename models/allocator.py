"""The C library's allocator, told to keep what is freed, or to give it back.

A training step needs as much as the last one has freed. As it comes, glibc maps each large tensor anew and
gives it back when it is freed, so that the system must find and clear the same pages in every step: 22 ms of
CPU time at 32 px and 61 at 64 px (batch 64), whatever the arithmetic takes. The peak of memory is higher, for
the heap has gaps: by a third for large batches.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process give no memory back until it ends: for one that trains, and then exits.

    Where the C library is not glibc, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back_freed_memory() -> None:
    """Give back at once what this process has freed, in all threads: each has a heap that keeps it.

    Where the C library is not glibc, nothing changes.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
