"""Identifies a CPU's arithmetic by running some, as no name tells which kernels oneDNN and MKL choose.

The choice depends on the processor, on what a virtual machine exposes of it, and on variables
(`ONEDNN_MAX_CPU_ISA`, `ONEDNN_DEFAULT_FPMATH_MODE`, `MKL_CBWR`) that torch does not see. Different kernels
round in different places.
"""

import hashlib
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_BATCHES = (1, 8)
_CHANNELS = 32  # with fewer, oneDNN chooses other kinds of kernels than for real layers
_SIDE = 8
_KERNEL = 4


@cache
def arithmetic(dtype: torch.dtype) -> str:
    """Eight hex digits that hash the output of generator-like layers; equal in all processes computing alike.

    Takes some hundredths of a second, once per process. Runs on one thread, because the environment records
    the number of threads separately. Restores the number of threads and changes no other state of torch.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            found = hashlib.sha256()
            for result in _results(dtype):
                found.update(result.float().contiguous().numpy().data)
    finally:
        torch.set_num_threads(threads)
    return found.hexdigest()[:8]


def _results(dtype: torch.dtype) -> Iterator[Tensor]:
    weights = _fixed(_CHANNELS, _CHANNELS, _KERNEL, _KERNEL).to(dtype)
    matrix = weights.reshape(-1, _CHANNELS * _KERNEL)  # (F, C·4)
    for batch in _BATCHES:
        features = _fixed(batch, _CHANNELS, _SIDE, _SIDE).to(dtype, memory_format=torch.channels_last)
        yield functional.conv2d(features, weights, stride=2, padding=1)
        yield functional.conv_transpose2d(features, weights, stride=2, padding=1)
        yield functional.linear(_fixed(batch, matrix.shape[1]).to(dtype), matrix)


def _fixed(*shape: int) -> Tensor:
    """Numbers within ±1/2, without using a random generator, whose sums must be rounded."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 7919 % 1009 - 504).float() / 1009).reshape(shape)
