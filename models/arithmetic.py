"""What a CPU's arithmetic comes to, found by doing some: no name tells which kernels oneDNN and MKL choose.

Their choice follows the processor, what a virtual machine shows of it, and variables (`ONEDNN_MAX_CPU_ISA`,
`ONEDNN_DEFAULT_FPMATH_MODE`, `MKL_CBWR`) that torch does not see. Other kernels round in other places.
"""

import hashlib
from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

_BATCHES = (1, 8)
_CHANNELS = 32  # fewer, and oneDNN takes kernels of another kind than those of real layers
_SIDE = 8
_KERNEL = 4


@cache
def arithmetic(dtype: torch.dtype) -> str:
    """Eight hex digits over the bits of layers like a generator's, the same in every process computing alike.

    Takes some hundredths of a second, once a process. On one thread, whatever the process computes with: how
    many those are is said beside it. Neither their number nor anything else of torch's state is changed.
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
    """Numbers within ±1/2 that no generator of random ones draws, and whose sums must be rounded."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 7919 % 1009 - 504).float() / 1009).reshape(shape)
