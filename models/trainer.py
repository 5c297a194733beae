"""Adversarial training as a generator: state goes in, progress comes out. Knows no clock, disk or network.

One step (Goodfellow et al. 2014, algorithm 1): the discriminator learns from a batch of reals and a batch of
fakes; then the generator learns from the same fakes, judged by the discriminator as it has just become. If
the objective asks for several discriminator steps, each is a step here, and the last is the generator's too.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from contract.training import TrainingSpec
from models import ema, objectives, priors, terms
from models.augment import Draws, augment
from models.batches import Batches
from models.game import DiscriminatorTerm, Exchange, GeneratorTerm, Judged, Loss
from models.latents import noise, random_words, unit_interval
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
    """By player, and by player and term: `discriminator`, `discriminator/r1`, `generator`, …"""

    def read(self) -> dict[str, float]:
        """The losses as numbers. The only place where training waits for the device: call it seldom."""
        return {name: loss.item() for name, loss in self.losses.items()}


def keep(gradients: list[Tensor]) -> None:
    """The reduction of a single rank: the gradients stay what they are."""


@dataclass(frozen=True)
class Rules:
    """The maths that a spec has chosen."""

    objective: Objective
    prior: Prior
    discriminator_terms: tuple[DiscriminatorTerm, ...]
    generator_terms: tuple[GeneratorTerm, ...]

    @classmethod
    def of(cls, spec: TrainingSpec) -> Self:
        objective = objectives.build(spec.objective)
        added = [terms.build(term) for term in spec.terms]
        return cls(
            objective,
            priors.build(spec.prior),
            (*objective.discriminator_terms, *(t for t in added if isinstance(t, DiscriminatorTerm))),
            tuple(t for t in added if isinstance(t, GeneratorTerm)),
        )

    def is_generators_turn(self, step: int) -> bool:
        """Whether the generator learns in this step, the discriminator having had its share."""
        return (step + 1) % self.objective.discriminator_steps == 0

    @property
    def shows_generator_reals(self) -> bool:
        return self.objective.compares_pairs or bool(self.generator_terms)


def train(state: TrainingState, batches: Batches, reduce: Reduce = keep) -> Iterator[Progress]:
    """Advance `state` in place, one batch per item, until it has seen the images that its spec asks for.

    Between two items the state is whole: it can be saved, served, or left for good.
    """
    rules = Rules.of(state.spec)
    while state.images_seen < state.spec.images:
        state.pace()
        losses = _step(state, batches.at(state.images_seen), rules, reduce)
        state.images_seen += batches.batch_size
        yield Progress(state.images_seen, losses)


def _step(state: TrainingState, real: Tensor, rules: Rules, reduce: Reduce) -> Mapping[str, Tensor]:
    real = real.contiguous(memory_format=state.environment.memory_format)  # (N, C, R, R)
    step = state.images_seen // len(real)
    is_generators_turn = rules.is_generators_turn(step)
    latents = _latents(state, len(real), rules.prior)  # (N, Z)
    with state.environment.autocast(), torch.set_grad_enabled(is_generators_turn):
        fake = state.generator(latents)  # (N, C, R, R)
    losses = _named("discriminator", _train_discriminator(state, real, fake.detach(), rules, step, reduce))
    if is_generators_turn:
        losses |= _named("generator", _train_generator(state, real, fake, rules, reduce))
        _average(state, len(real) * rules.objective.discriminator_steps)
    return losses


def _train_discriminator(
    state: TrainingState, real: Tensor, fake: Tensor, rules: Rules, step: int, reduce: Reduce
) -> Loss:
    real, fake = _augmented(state, real, "real"), _augmented(state, fake, "fake")
    with state.environment.autocast():
        real_scores, fake_scores = state.discriminator(real), state.discriminator(fake)  # (N,), (N,)
    due = [term for term in rules.discriminator_terms if step % term.every_steps == 0]
    exchange = Exchange(state.discriminator, real, fake.float(), _mix(state, len(real)))
    loss = Loss(
        rules.objective.discriminator_loss(real_scores.float(), fake_scores.float()),
        {term.name: term.loss(exchange) for term in due},
    )
    _descend(loss, state.discriminator, state.discriminator_optimizer, reduce)
    return loss


def _train_generator(state: TrainingState, real: Tensor, fake: Tensor, rules: Rules, reduce: Reduce) -> Loss:
    state.discriminator.requires_grad_(
        requires_grad=False
    )  # saves the gradients of its kernels: 1/9 of a step
    judged_fake = _judged(state, _augmented(state, fake, "generator/fake"))
    judged_real = (
        _judged(state, _augmented(state, real, "generator/real")) if rules.shows_generator_reals else None
    )
    real_scores = judged_real.scores if judged_real else None
    added = {term.name: term.loss(judged_real, judged_fake) for term in rules.generator_terms if judged_real}
    loss = Loss(rules.objective.generator_loss(judged_fake.scores, real_scores), added)
    _descend(loss, state.generator, state.generator_optimizer, reduce)
    state.discriminator.requires_grad_(requires_grad=True)
    return loss


def _augmented(state: TrainingState, images: Tensor, stream: str) -> Tensor:
    """The images as the discriminator shall see them."""
    if state.augmentation is None:
        return images
    draws = Draws.of(state.spec.seed, stream, state.images_seen, len(images))
    return augment(images, state.augmentation, draws)


def _judged(state: TrainingState, images: Tensor) -> Judged:
    with state.environment.autocast():
        features = state.discriminator.features(images)  # (N, F)
        scores = state.discriminator.score(features)  # (N,)
    return Judged(images.float(), features.float().flatten(1), scores.float())


def _descend(loss: Loss, network: nn.Module, optimizer: Optimizer, reduce: Reduce) -> None:
    loss.total.backward()  # type: ignore[no-untyped-call]
    reduce([parameter.grad for parameter in network.parameters() if parameter.grad is not None])
    optimizer.step()
    optimizer.zero_grad()  # to None: the next backward pass then writes instead of adding


def _latents(state: TrainingState, count: int, prior: Prior) -> Tensor:
    size = state.generator.latent_size
    drawn = noise(state.spec.seed, "latents", state.images_seen, count, size, prior)
    return torch.from_numpy(drawn).to(state.environment.device)


def _mix(state: TrainingState, count: int) -> Tensor:
    """How much of the real is in each point between a real and a fake: (N, 1, 1, 1), uniform in (0, 1)."""
    words = random_words(state.spec.seed, "mix", state.images_seen, count)
    return torch.from_numpy(unit_interval(words)).to(state.environment.device)[:, None, None, None]


def _average(state: TrainingState, images: int) -> None:
    """Let the average follow a generator's step, which has taken so many images."""
    halflife = ema.ramped_halflife(state.spec.ema_halflife_images, state.images_seen + state.spec.batch_size)
    ema.keep(ema.decay(halflife, images), state.ema, state.generator)


def _named(player: str, loss: Loss) -> dict[str, Tensor]:
    """A player's total loss and, where it has several parts, each by name."""
    parts = {f"{player}/{name}": part.detach() for name, part in loss.parts.items()}
    return {player: loss.total.detach(), **(parts if loss.terms else {})}
