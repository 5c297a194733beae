"""Adversarial training as a generator: state goes in, progress comes out. Knows no clock, disk or network.

One step (Goodfellow et al. 2014, algorithm 1, with one discriminator step): the discriminator learns from a
batch of reals and a batch of fakes, then the generator learns from the same fakes, judged by the
discriminator as it has just become.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from models import ema, objectives, priors
from models.batches import Batches
from models.latents import noise
from models.objectives import Objective
from models.priors import Prior
from models.state import TrainingState

Reduce = Callable[[list[Tensor]], None]
"""Averages gradients over ranks, in place."""


@dataclass(frozen=True)
class Progress:
    """What a step leaves behind. Its losses are still on the device, perhaps not even computed."""

    images_seen: int
    losses: Mapping[str, Tensor]

    def read(self) -> dict[str, float]:
        """The losses as numbers. The only place where training waits for the device: call it seldom."""
        return {name: loss.item() for name, loss in self.losses.items()}


def keep(gradients: list[Tensor]) -> None:
    """The reduction of a single rank: the gradients stay what they are."""


def train(state: TrainingState, batches: Batches, reduce: Reduce = keep) -> Iterator[Progress]:
    """Advance `state` in place, one batch per item, until it has seen the images that its spec asks for.

    Between two items the state is whole: it can be saved, served, or left for good.
    """
    objective, prior = objectives.build(state.spec.objective), priors.build(state.spec.prior)
    while state.images_seen < state.spec.images:
        losses = _step(state, batches.at(state.images_seen), objective, prior, reduce)
        state.images_seen += batches.batch_size
        _average(state, batches.batch_size)
        yield Progress(state.images_seen, losses)


def _step(
    state: TrainingState, real: Tensor, objective: Objective, prior: Prior, reduce: Reduce
) -> Mapping[str, Tensor]:
    real = real.contiguous(memory_format=state.environment.memory_format)  # (N, C, R, R)
    latents = _latents(state, len(real), prior)  # (N, Z)
    with state.environment.autocast():
        fake = state.generator(latents)  # (N, C, R, R)
    discriminator_loss = _train_discriminator(state, real, fake.detach(), objective, reduce)
    generator_loss = _train_generator(state, fake, objective, reduce)
    return {"discriminator": discriminator_loss, "generator": generator_loss}


def _train_discriminator(
    state: TrainingState, real: Tensor, fake: Tensor, objective: Objective, reduce: Reduce
) -> Tensor:
    with state.environment.autocast():
        real_scores, fake_scores = state.discriminator(real), state.discriminator(fake)  # (N,), (N,)
    loss = objective.discriminator_loss(real_scores.float(), fake_scores.float())
    _descend(loss, state.discriminator, state.discriminator_optimizer, reduce)
    return loss.detach()


def _train_generator(state: TrainingState, fake: Tensor, objective: Objective, reduce: Reduce) -> Tensor:
    state.discriminator.requires_grad_(
        requires_grad=False
    )  # saves the gradients of its kernels: 1/9 of a step
    with state.environment.autocast():
        scores = state.discriminator(fake)  # (N,)
    loss = objective.generator_loss(scores.float())
    _descend(loss, state.generator, state.generator_optimizer, reduce)
    state.discriminator.requires_grad_(requires_grad=True)
    return loss.detach()


def _descend(loss: Tensor, network: nn.Module, optimizer: Optimizer, reduce: Reduce) -> None:
    loss.backward()  # type: ignore[no-untyped-call]
    reduce([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    optimizer.step()
    optimizer.zero_grad()  # to None: the next backward pass then writes instead of adding


def _latents(state: TrainingState, count: int, prior: Prior) -> Tensor:
    size = state.generator.latent_size
    drawn = noise(state.spec.seed, "latents", state.images_seen, count, size, prior)
    return torch.from_numpy(drawn).to(state.environment.device)


def _average(state: TrainingState, batch_size: int) -> None:
    halflife = ema.ramped_halflife(state.spec.ema_halflife_images, state.images_seen)
    ema.keep(ema.decay(halflife, batch_size), state.ema, state.generator)
