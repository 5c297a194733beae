"""The complete state of a training run between two steps."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.optim import Adam

from contract.architectures import Pair
from contract.augmentation import DiffAugment
from contract.training import TrainingSpec
from models import networks
from models.environment import NumericEnvironment
from models.networks.pair import Discriminator, Generator, Networks
from models.networks.strided import allow_shortcuts
from models.optimizer import FlatAdam
from models.silence import silent
from models.watch import Watch


@dataclass
class TrainingState:
    """Advanced in place by `models.trainer.train`; saved and loaded by `models.checkpoint`."""

    spec: TrainingSpec
    environment: NumericEnvironment
    generator: Generator
    discriminator: Discriminator
    generator_optimizer: Adam
    discriminator_optimizer: Adam
    ema: Generator
    """The generator's averaged parameters. Its batch-norm statistics are not valid until it is served."""
    images_seen: int
    watch: Watch
    losses: dict[str, Tensor] = field(default_factory=dict)
    """The latest loss of each name, on the device: not every step trains the generator or has every term."""

    @classmethod
    def fresh(
        cls, spec: TrainingSpec, environment: NumericEnvironment, show_life: Callable[[], None] = silent
    ) -> Self:
        """The state before the first step, a function of the spec's seed, on the environment's device."""
        state = cls.blank(spec, environment)
        state.draw(show_life)
        return state

    @classmethod
    def blank(cls, spec: TrainingSpec, environment: NumericEnvironment) -> Self:
        """Allocate a state on the environment's device, with uninitialised weights.

        All tensors other than those of weights and norms have their initial values.
        """
        return cls.of(spec, environment, networks.build, _adam)

    @classmethod
    def of(
        cls,
        spec: TrainingSpec,
        environment: NumericEnvironment,
        build: Callable[[Pair, int, int], Networks],
        optimizer: Callable[[nn.Module, TrainingSpec, float], Adam],
    ) -> Self:
        """A state of networks and optimisers that the given functions make, on the environment's device."""
        pair = build(spec.architecture, spec.resolution, spec.channels)
        for network in (pair.generator, pair.discriminator):
            environment.place(network)
            if environment.allows_shortcuts:
                allow_shortcuts(network)
        return cls(
            spec=spec,
            environment=environment,
            generator=pair.generator.train(),
            discriminator=pair.discriminator.train(),
            generator_optimizer=optimizer(pair.generator, spec, spec.generator_learning_rate),
            discriminator_optimizer=optimizer(pair.discriminator, spec, spec.discriminator_learning_rate),
            ema=copy.deepcopy(pair.generator).train().requires_grad_(requires_grad=False),
            images_seen=0,
            watch=Watch(),
        )

    @torch.no_grad()
    def draw(self, show_life: Callable[[], None]) -> None:
        """Initialise all weights. Calls `show_life` after each, because wide networks take minutes."""
        self.generator.initialise(self.spec.seed, show_life)
        self.discriminator.initialise(self.spec.seed, show_life)
        for averaged, tensor in zip(
            self.ema.state_dict().values(), self.generator.state_dict().values(), strict=True
        ):
            averaged.copy_(tensor)

    @property
    def is_over(self) -> bool:
        """Whether all images have been seen."""
        return self.images_seen >= self.spec.images

    @property
    def augmentation(self) -> DiffAugment | None:
        """The augmentation of the discriminator's images: the spec's, plus what the guards have added."""
        added = self.watch.adjustments.augmentation
        if added == 0:
            return self.spec.augmentation
        asked = self.spec.augmentation or DiffAugment(strength=0)
        return asked.model_copy(update={"strength": min(1.0, asked.strength + added)})

    def set_learning_rates(self) -> None:
        """Set those of the next step: the spec's, decayed and adjusted by the guards."""
        spec, adjustments = self.spec, self.watch.adjustments
        left = decayed(spec.learning_rate_decay, self.images_seen / spec.images)
        _set_rate(self.generator_optimizer, spec.generator_learning_rate * adjustments.generator_rate * left)
        _set_rate(
            self.discriminator_optimizer,
            spec.discriminator_learning_rate * adjustments.discriminator_rate * left,
        )

    def player(self, name: Literal["generator", "discriminator"]) -> tuple[nn.Module, Adam]:
        """A player's network and optimiser."""
        if name == "generator":
            return self.generator, self.generator_optimizer
        return self.discriminator, self.discriminator_optimizer

    def statistics(self) -> Iterator[Tensor]:
        """The running statistics of both players' batch norms, which change by images, not gradients."""
        for network in (self.generator, self.discriminator):
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    assert layer.running_mean is not None
                    assert layer.running_var is not None
                    yield from (layer.running_mean, layer.running_var)

    def begin_again(self, show_life: Callable[[], None] = silent) -> None:
        """Reset networks and optimisers to their initial state and record when; `images_seen` continues.

        In place: a GPU may not have room for a second state, and recorded steps refer to these tensors.
        """
        self.draw(show_life)
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            for moments in optimizer.state.values():
                for moment in moments.values():
                    moment.zero_()
        self.watch = self.watch.begun_again(self.images_seen)

    def read_losses(self) -> dict[str, float]:
        """The latest losses as numbers. Waits for the device."""
        return read(self.losses)

    def is_finite(self) -> bool:
        """Whether every parameter is finite. Waits for the device."""
        networks = (self.generator, self.discriminator, self.ema)
        parameters = (parameter for network in networks for parameter in network.parameters())
        return all(bool(parameter.isfinite().all()) for parameter in parameters)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor that training changes, by name, to read or to copy into."""
        for name in ("generator", "discriminator", "ema"):
            network: nn.Module = getattr(self, name)
            yield from ((f"{name}.{key}", tensor) for key, tensor in network.state_dict().items())
        yield from _moments("generator_optimizer", self.generator_optimizer, self.generator)
        yield from _moments("discriminator_optimizer", self.discriminator_optimizer, self.discriminator)


def read(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Losses as numbers. Waits for the device, so call it rarely."""
    return {name: loss.item() for name, loss in losses.items()}


def decayed(decay: float, progress: float) -> float:
    """The factor of a learning rate: 1, then linearly down to 0 over the last share `decay` of the run."""
    return min(1.0, (1.0 - progress) / decay) if decay > 0 else 1.0


def _set_rate(optimizer: Adam, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _adam(network: nn.Module, spec: TrainingSpec, learning_rate: float) -> Adam:
    """Fused Adam with its moments already allocated, so that a snapshot always has storage to load into.

    The moments are as Adam itself creates them at its first step: `zeros_like` keeps the parameter's memory
    format, which the fused kernel relies on. On a GPU the rate is a tensor, which a recorded step rereads.
    """
    on_gpu = next(network.parameters()).is_cuda
    rate = torch.tensor(learning_rate, device="cuda") if on_gpu else learning_rate
    betas = (spec.beta1, spec.beta2)
    optimizer = (Adam if on_gpu else FlatAdam)(
        network.parameters(), rate, betas, fused=True, capturable=on_gpu
    )
    for parameter in network.parameters():
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }
    return optimizer


def _moments(prefix: str, optimizer: Adam, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, parameter in network.named_parameters():
        for moment, tensor in optimizer.state[parameter].items():
            yield f"{prefix}.{name}.{moment}", tensor
