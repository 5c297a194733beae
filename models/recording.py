"""Training steps on a GPU, with each routine recorded once as a CUDA graph (`models/graphs.py`)."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import graphs
from models.graphs import Graph
from models.rules import Routine
from models.step import Drawn, Step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Recorded:
    """The recorded step of one routine."""

    graph: Graph
    drawn: Drawn
    """The buffers that a step's draws are copied to."""
    names: tuple[str, ...]
    """The names of the losses."""


class RecordedSteps:
    """Takes the steps of a run as graphs, with the same bits as launching kernel by kernel."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._known: dict[Routine, _Recorded | None] = {}
        self._met: set[Routine] = set()
        self._pool: Any = None
        self._can_record = True

    def take(self, routine: Routine, drawn: Drawn) -> dict[str, Tensor]:
        """As `Step.take`. A routine's first step is not recorded, because it includes set-up by libraries."""
        if routine not in self._met:
            self._met.add(routine)
            self._forget()
            return self._step.take(routine, drawn)
        if routine not in self._known and self._can_record:
            self._known[routine] = self._try_to_record(routine, drawn)
        recorded = self._known.get(routine)
        if recorded is None:
            return self._step.take(routine, drawn)
        for name, fixed in recorded.drawn.items():
            fixed.copy_(drawn[name], non_blocking=True)
        return dict(zip(recorded.names, recorded.graph.launch().unbind(), strict=True))

    def _forget(self) -> None:
        """Free all recordings, because an unrecorded step needs as much memory as the graphs hold.

        This is rare: later a routine is new only through an infrequent penalty or a change by the guards.
        """
        if self._known:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self._known.clear()
            self._pool = None
            torch.cuda.empty_cache()

    def _try_to_record(self, routine: Routine, drawn: Drawn) -> _Recorded | None:
        try:
            return self._record(routine, drawn)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            logger.warning("no CUDA graph of steps %s: %s", routine, error)
            self._step.forget_gradients()
            self._can_record = False  # torch may believe that it is still recording
            return None

    def _record(self, routine: Routine, drawn: Drawn) -> _Recorded:
        device = self._step.state.environment.device
        fixed = {name: tensor.to(device, copy=True) for name, tensor in drawn.items()}
        names: list[str] = []

        def compute() -> Tensor:
            losses = self._step.take(routine, fixed)
            names.extend(losses)
            return torch.stack(list(losses.values()))

        graph = graphs.Graph(compute, self._pool)
        self._pool = graph.pool
        return _Recorded(graph, fixed, tuple(names))
