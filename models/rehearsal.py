"""Runs a few training steps on tensors without values, to measure the peak of live memory without using any.

It runs the real trainer on the meta device. Every storage counts from the operation that creates it until its
last reference goes, so penalties, terms and architectures need no rules of their own here.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.optim import Adam
from torch.overrides import TorchFunctionMode

from contract.training import TrainingSpec
from models import networks
from models.batches import Batches
from models.environment import NumericEnvironment
from models.networks import winograd
from models.rules import Rules
from models.state import TrainingState
from models.tally import Tally
from models.trainer import train

SHOWN = 64
"""Latents in one forward pass of the generator for a preview, or for its batch-norm statistics."""

MOST_STEPS = 1_024
"""Steps searched for the hardest one: intervals without a common divisor coincide only after billions."""


@dataclass(frozen=True)
class Living:
    """Bytes of live tensors."""

    state: int
    """Between two steps."""
    peak: int
    """At most, within the hardest step or while a preview is rendered."""


def rehearse(spec: TrainingSpec, environment: NumericEnvironment) -> Living:
    """The bytes that training a spec would keep alive. Uses next to no memory itself, whatever the batch."""
    with Tally("meta") as tally:
        state = _valueless(spec, environment)
        between_steps = tally.now
        batches = _pictures(spec)
        for step in _hardest_steps(Rules.of(spec)):
            state.images_seen = step * spec.batch_size
            next(train(state, batches))
        _show(state)
    return Living(between_steps, tally.peak)


def _valueless(spec: TrainingSpec, environment: NumericEnvironment) -> TrainingState:
    """A training state on the meta device, for a run that never ends."""
    endless = spec.model_copy(update={"images": 2**62})
    return TrainingState.of(endless, _Valueless.of(environment), networks.sketch, _adam)


def _adam(network: nn.Module, _spec: TrainingSpec, _learning_rate: float) -> Adam:
    """Adam with allocated moments. torch cannot fuse it here, which costs one more parameter's size."""
    optimizer = Adam(network.parameters(), foreach=False)
    for parameter in network.parameters():
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
    return optimizer


def _pictures(spec: TrainingSpec) -> Batches:
    return Batches(
        np.zeros((1, spec.channels, spec.resolution, spec.resolution), np.uint8),
        np.zeros(1, np.int64),
        batch_size=spec.batch_size,
        seed=spec.seed,
        device="meta",
        mirror=spec.mirror,
    )


def _hardest_steps(rules: Rules) -> Iterator[int]:
    """A step of each maximal routine: no other has all of its due terms, its generator's turn, and more."""
    first: dict[frozenset[object], int] = {}
    for step in range(min(rules.period_steps, MOST_STEPS)):
        routine = rules.routine(step, None)
        turn = {"generator"} if routine.is_generators_turn else set()
        first.setdefault(frozenset({*routine.due, *turn}), step)
    return (step for does, step in first.items() if not any(does < more for more in first))


def _show(state: TrainingState) -> None:
    """Copy the averaged generator, take its batch-norm statistics, and render a sheet with it in float32."""
    latents = torch.empty(SHOWN, state.ema.latent_size, device="meta")
    shown = copy.deepcopy(state.ema)
    with torch.no_grad():
        with state.environment.autocast():
            shown(latents)
        shown.eval()(latents)


class _Valueless(NumericEnvironment):
    """An environment on the meta device, which knows only shapes."""

    rehearsed: NumericEnvironment

    @classmethod
    def of(cls, environment: NumericEnvironment) -> NumericEnvironment:
        return cls.model_construct(**environment.model_dump() | {"device": "meta", "rehearsed": environment})

    @property
    def allows_shortcuts(self) -> bool:
        return self.rehearsed.allows_shortcuts

    def autocast(self) -> AbstractContextManager[object]:
        return _Autocast() if self.precision == "bfloat16" else nullcontext()


class _Autocast(TorchFunctionMode):
    """Imitates torch.autocast for layers with weights, because it does not support the meta device."""

    LAYERS = (torch.conv2d, torch.conv_transpose2d, linear)
    OURS = (winograd.halve, winograd.double)
    """Layers that make of their weights what they need in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self._weights: dict[nn.Parameter, Tensor] = {}

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if function in self.LAYERS:
            args = tuple(self._cast(given) if isinstance(given, Tensor) else given for given in args)
        elif function in self.OURS:
            batches, weights = args
            args = ([batch.to(torch.bfloat16) for batch in batches], weights)
        return function(*args, **(kwargs or {}))

    def _cast(self, given: Tensor) -> Tensor:
        """Cast to bfloat16; parameters only once, because autocast caches them."""
        if not isinstance(given, nn.Parameter):
            return given.to(torch.bfloat16)
        if given not in self._weights:
            self._weights[given] = given.to(torch.bfloat16)
        return self._weights[given]
