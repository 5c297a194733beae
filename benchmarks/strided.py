"""Claim: on a CPU wide strided convolutions train faster by Winograd's algorithm, and images' by sub-pixels.

    python benchmarks/strided.py [--threads 2] [--precision auto] [--rounds 7]

Layers as in `dcgan`, by batch, channels of the larger and the smaller side, and size of the larger side. A
layer of the discriminator halves the size; `frozen` is without the kernel's gradient, as in the generator's
turn; from an image, the other column has the image's gradient, too, as in a penalty. A layer of the generator
doubles it. Both ways run in turns in one process; prints the median times of a forward and a backward pass,
and the median ratio. The thresholds in `models/networks/strided.py` and `tiling.py` are from these.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from contract.devices import PrecisionChoice
from models.allocator import keep_freed_memory
from models.environment import detect
from models.networks import subpixels, winograd
from models.networks.strided import MOST_COLOURS

LAYERS = [
    (batch, channels, features, size)
    for batch in (16, 32, 64)
    for channels, features in ((3, 64), (48, 96), (64, 128), (96, 192), (128, 256), (256, 512))
    for size in (8, 16, 32, 64)
]
MOST_NUMBERS = 64 * 128 * 32 * 32
"""In the image of a layer; larger ones take seconds."""
LEAST_NUMBERS = 2**13
"""In the image of a layer; smaller ones are a matter of overheads."""
PASSES = 3

Convolution = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description="Strided convolutions in training, multiplied in two ways.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", choices=get_args(PrecisionChoice), default="auto")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    environment = detect("cpu", given.threads, given.precision)
    environment.apply()
    keep_freed_memory()
    dtype = torch.bfloat16 if environment.precision == "bfloat16" else torch.float32
    print(f"{environment.fingerprint}; ms: convolution, shortcut, ratio; medians of {given.rounds} rounds")
    print("batch, channels, size   discriminator         frozen                generator")
    for batch, channels, features, size in LAYERS:
        if LEAST_NUMBERS <= batch * channels * size**2 <= MOST_NUMBERS:
            halved, doubled = (subpixels.halve, subpixels.double) if channels <= MOST_COLOURS else WINOGRAD
            image = _drawn(batch, channels, size, size).to(dtype)
            outputs = _drawn(batch, features, size // 2, size // 2).to(dtype)
            kernel = _drawn(features, channels, 4, 4).to(dtype)
            columns = (
                compare(halve, halved, image, kernel, given.rounds),
                compare(halve, halved, image, kernel.detach(), given.rounds),
                compare(double, doubled, outputs, kernel, given.rounds),
            )
            print(f"{batch:3} {channels:4} {features:4} {size:3} px      {'  '.join(columns)}", flush=True)


def halve(image: Tensor, kernel: Tensor) -> Tensor:
    return conv2d(image, kernel, stride=2, padding=1)


def double(outputs: Tensor, kernel: Tensor) -> Tensor:
    return conv_transpose2d(outputs, kernel, stride=2, padding=1)


def alone(convolution: winograd.Convolution) -> Convolution:
    """Of a single batch."""
    return lambda features, kernel: convolution([features], kernel)[0]


WINOGRAD = (alone(winograd.halve), alone(winograd.double))


def compare(plain: Convolution, ours: Convolution, features: Tensor, kernel: Tensor, rounds: int) -> str:
    """Time both in turns, after a round that only warms up."""
    times = [(_seconds(plain, features, kernel), _seconds(ours, features, kernel)) for _ in range(rounds + 1)]
    plain_ms, ours_ms = (statistics.median(way) * 1000 for way in zip(*times[1:], strict=True))
    ratio = statistics.median(slow / fast for slow, fast in times[1:])
    return f"{plain_ms:6.2f} {ours_ms:6.2f} {ratio:5.2f}×"


def _seconds(convolution: Convolution, features: Tensor, kernel: Tensor) -> float:
    """The duration of a forward pass and a backward pass to everything that requires a gradient."""
    leaves = [tensor for tensor in (features, kernel) if tensor.requires_grad]
    began_at = time.perf_counter()
    for _ in range(PASSES):
        result = convolution(features, kernel)
        torch.autograd.grad(result, leaves, result.detach())
    return (time.perf_counter() - began_at) / PASSES


def _drawn(*shape: int) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=random).contiguous(memory_format=torch.channels_last).requires_grad_()


if __name__ == "__main__":
    main()
