"""CUDA graphs: a computation is recorded once and launched as a whole, instead of kernel by kernel.

At these network sizes a kernel finishes before the next one is launched: on an H100 a training step at 32 px
keeps the GPU busy for a tenth of the time that launching it takes. A graph works on the memory it was
recorded with, so inputs are copied there and results are copied out.

If recording fails, kernels are launched one by one. In a sampler the probes (`models/sampler.py`) go through
the graph, so a graph whose images depend on their position is never served.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.networks.pair import Generator

logger = logging.getLogger(__name__)

_WARM_UP_PASSES = 3
"""Passes before recording, so that cuDNN and the allocator have settled."""


class Graph:
    """A recorded GPU computation that can be launched again."""

    def __init__(self, compute: Callable[[], Tensor], pool: Any = None) -> None:
        """Record `compute` without running it. Graphs of one `pool` share memory: never run two concurrently.

        Raises:
            RuntimeError: `compute` does something that cannot be recorded, such as waiting for the GPU.
        """
        torch.cuda.empty_cache()  # as recording does, so that memory reserved from here on is the graph's
        before = torch.cuda.memory_reserved()
        self._graph = torch.cuda.CUDAGraph()
        # A failed recording would not restore this stream. Other threads may continue to render.
        here = torch.cuda.stream(torch.cuda.current_stream())
        with here, torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._result = compute()
        self.bytes: int = max(0, torch.cuda.memory_reserved() - before)

    @property
    def pool(self) -> Any:
        """The memory pool of its intermediate results."""
        return self._graph.pool()

    def launch(self) -> Tensor:
        """Run the graph and return a copy of its result, because the next launch overwrites the original."""
        self._graph.replay()
        return self._result.clone()


@dataclass(frozen=True)
class _Pass:
    graph: Graph
    latents: Tensor


class Graphs:
    """A generator on a GPU, run as graphs. Used by one thread at a time; recorded by the one that loads."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._passes: dict[int, _Pass | None] = {}

    def __call__(self, latents: Tensor) -> Tensor:
        """The images (N, C, R, R) of latents (N, Z), both on the GPU; the first call for each N records."""
        if len(latents) not in self._passes:
            self._passes[len(latents)] = self._try_to_record(latents)
        recorded = self._passes[len(latents)]
        if recorded is None:
            images: Tensor = self._generator(latents)
            return images
        recorded.latents.copy_(latents)
        return recorded.graph.launch()

    @property
    def bytes(self) -> int:
        """Memory that the graphs take besides the generator."""
        return sum(recorded.graph.bytes for recorded in self._passes.values() if recorded)

    def _try_to_record(self, latents: Tensor) -> _Pass | None:
        try:
            return self._record(latents)
        except RuntimeError as error:
            logger.warning("no CUDA graph of batches of %d: %s", len(latents), error)
            return None

    def _record(self, latents: Tensor) -> _Pass:
        fixed = latents.clone()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_PASSES):
                self._generator(fixed)
        torch.cuda.current_stream().wait_stream(aside)
        return _Pass(Graph(lambda: self._generator(fixed)), fixed)
