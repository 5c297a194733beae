"""CUDA graphs: the forward pass of each batch size launched as one, instead of kernel by kernel.

Not measured: written without a GPU at hand. So where a capture fails, kernels are launched one by one, as
without; and the probes of every bucket (`models/sampler.py`) go through it, so that a graph that gave other
bits would cost its bucket and no picture.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from models.networks.pair import Generator

logger = logging.getLogger(__name__)

_WARM_UP_PASSES = 3
"""Before a capture cuDNN and the allocator must have settled."""


@dataclass(frozen=True)
class _Captured:
    graph: torch.cuda.CUDAGraph
    latents: Tensor
    images: Tensor


class Graphs:
    """A generator on a GPU. Used by one thread at a time, and captured by the one that loads."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._captured: dict[int, _Captured | None] = {}

    def __call__(self, latents: Tensor) -> Tensor:
        """The images (N, C, R, R) of latents (N, Z), both on the GPU; the first call of each N captures."""
        if len(latents) not in self._captured:
            self._captured[len(latents)] = self._try_to_capture(latents)
        captured = self._captured[len(latents)]
        if captured is None:
            images: Tensor = self._generator(latents)
            return images
        captured.latents.copy_(latents)
        captured.graph.replay()
        return captured.images.clone()  # the next replay overwrites them

    def _try_to_capture(self, latents: Tensor) -> _Captured | None:
        try:
            return self._capture(latents)
        except RuntimeError as error:
            logger.warning("no CUDA graph of batches of %d: %s", len(latents), error)
            return None

    def _capture(self, latents: Tensor) -> _Captured:
        fixed = latents.clone()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_PASSES):
                self._generator(fixed)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # another thread goes on rendering
            images = self._generator(fixed)
        return _Captured(graph, fixed, images)
