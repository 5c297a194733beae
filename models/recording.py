"""Training steps on a GPU, each kind of them recorded once as a CUDA graph (`models/graphs.py`)."""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import graphs
from models.graphs import Graph
from models.rules import Kind
from models.step import Drawn, Step

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Recorded:
    """Steps of one kind."""

    graph: Graph
    drawn: Drawn
    """Where what is drawn for a step must be."""
    names: tuple[str, ...]
    """Of the losses."""


class RecordedSteps:
    """Takes the steps of a run, which gives the same bits as to take them one kernel after another."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._known: dict[Kind, _Recorded | None] = {}
        self._met: set[Kind] = set()
        self._pool: Any = None

    def take(self, kind: Kind, drawn: Drawn) -> dict[str, Tensor]:
        """As `Step.take`. The first step of a kind is not recorded: what libraries set up then cannot be."""
        if kind not in self._met:
            self._met.add(kind)
            return self._step.take(kind, drawn)
        if kind not in self._known:
            self._known[kind] = self._try_to_record(kind, drawn)
        recorded = self._known[kind]
        if recorded is None:
            return self._step.take(kind, drawn)
        for name, fixed in recorded.drawn.items():
            fixed.copy_(drawn[name], non_blocking=True)
        return dict(zip(recorded.names, recorded.graph.launch().unbind(), strict=True))

    def _try_to_record(self, kind: Kind, drawn: Drawn) -> _Recorded | None:
        try:
            return self._record(kind, drawn)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            logger.warning("no CUDA graph of steps %s: %s", kind, error)
            self._step.forget_gradients()
            return None

    def _record(self, kind: Kind, drawn: Drawn) -> _Recorded:
        device = self._step.state.environment.device
        fixed = {name: tensor.to(device, copy=True) for name, tensor in drawn.items()}
        names: list[str] = []

        def compute() -> Tensor:
            losses = self._step.take(kind, fixed)
            names.extend(losses)
            return torch.stack(list(losses.values()))

        graph = graphs.Graph(compute, self._pool)
        self._pool = graph.pool
        return _Recorded(graph, fixed, tuple(names))
