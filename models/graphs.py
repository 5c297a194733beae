"""CUDA graphs: a computation recorded once and launched as one, instead of kernel by kernel.

Kernels of networks of these sizes are done sooner than the next one is launched: on an H100 a training step
at 32 px keeps the GPU busy for a tenth of the time that launching it takes. A graph works on the very memory
it was recorded with, so what goes in is copied there, and what comes out is copied away.

Where a recording fails, kernels are launched one by one, as without. In a sampler the probes
(`models/sampler.py`) go through the graph: one whose images differ by their place is not served.
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
"""Before a recording cuDNN and the allocator must have settled."""


class Graph:
    """What a computation did on the GPU while it was recorded, to be done again."""

    def __init__(self, compute: Callable[[], Tensor], pool: Any = None) -> None:
        """Nothing is computed yet. Graphs of one `pool` share memory: none is launched amid another.

        Raises:
            RuntimeError: `compute` does something that cannot be recorded, as waiting for the GPU.
        """
        torch.cuda.empty_cache()  # recording begins so, too: what is reserved from here on is the graph's
        before = torch.cuda.memory_reserved()
        self._graph = torch.cuda.CUDAGraph()
        # A recording that fails would not come back to this stream. Another thread may go on rendering.
        here = torch.cuda.stream(torch.cuda.current_stream())
        with here, torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._result = compute()
        self.bytes: int = max(0, torch.cuda.memory_reserved() - before)

    @property
    def pool(self) -> Any:
        """The memory that its results between are in."""
        return self._graph.pool()

    def launch(self) -> Tensor:
        """The result, in memory of its own: the next launch overwrites the graph's."""
        self._graph.replay()
        return self._result.clone()


@dataclass(frozen=True)
class _Pass:
    graph: Graph
    latents: Tensor


class Graphs:
    """A generator on a GPU. Used by one thread at a time, and recorded by the one that loads."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._passes: dict[int, _Pass | None] = {}

    def __call__(self, latents: Tensor) -> Tensor:
        """The images (N, C, R, R) of latents (N, Z), both on the GPU; the first call of each N records."""
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
