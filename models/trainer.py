"""Adversarial training as a generator: state goes in, progress comes out. Knows no clock, disk or network.

One step (Goodfellow et al. 2014, algorithm 1): the discriminator learns from a batch of reals and a batch of
fakes; then the generator learns from the same fakes, judged by the discriminator as it has just become. If
the objective asks for several discriminator steps, each is a step here, and the last is the generator's too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Self

import torch
from torch import Tensor

from contract.training import TrainingSpec
from models import ema, objectives, priors, terms
from models.augment import Draws, augment
from models.batches import Batches
from models.game import DiscriminatorTerm, Exchange, GeneratorTerm, Judged, Loss
from models.latents import noise, random_words, unit_interval
from models.objectives import Objective
from models.priors import Prior
from models.ranks import Alone, Ranks
from models.state import TrainingState


@dataclass(frozen=True)
class Progress:
    """What a step leaves behind. Its losses are still on the device, perhaps not even computed."""

    images_seen: int
    losses: Mapping[str, Tensor]
    """By player, and by player and term: `discriminator`, `discriminator/r1`, `generator`, …"""

    def read(self) -> dict[str, float]:
        """The losses as numbers. The only place where training waits for the device: call it seldom."""
        return {name: loss.item() for name, loss in self.losses.items()}


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


def train(state: TrainingState, batches: Batches, ranks: Ranks | None = None) -> Iterator[Progress]:
    """Advance `state` in place, one batch per item, until it has seen the images that its spec asks for.

    Between two items the state is whole, and equal on all ranks: it can be saved, served, or left for good.
    """
    rules, ranks = Rules.of(state.spec), ranks or Alone()
    while state.images_seen < state.spec.images:
        state.pace()
        real = batches.at(state.images_seen, ranks.part(state.spec.batch_size))
        losses = _step(state, real, rules, ranks)
        state.images_seen += state.spec.batch_size
        yield Progress(state.images_seen, losses)


def _step(state: TrainingState, real: Tensor, rules: Rules, ranks: Ranks) -> Mapping[str, Tensor]:
    """`real` is this rank's part (N, C, R, R) of the batch."""
    real = real.contiguous(memory_format=state.environment.memory_format)
    step = state.images_seen // state.spec.batch_size
    is_generators_turn = rules.is_generators_turn(step)
    latents = _latents(state, rules.prior, ranks)  # (N, Z)
    with state.environment.autocast(), torch.set_grad_enabled(is_generators_turn):
        fake = state.generator(latents)  # (N, C, R, R)
    losses = _train_discriminator(state, real, fake.detach(), rules, step, ranks)
    if is_generators_turn:
        losses |= _train_generator(state, real, fake, rules, ranks)
        _average(state, state.spec.batch_size * rules.objective.discriminator_steps)
    return losses


def _train_discriminator(
    state: TrainingState, real: Tensor, fake: Tensor, rules: Rules, step: int, ranks: Ranks
) -> dict[str, Tensor]:
    real, fake = _augmented(state, real, "real", ranks), _augmented(state, fake, "fake", ranks)
    with state.environment.autocast():
        real_scores, fake_scores = state.discriminator(real), state.discriminator(fake)  # (N,), (N,)
    due = [term for term in rules.discriminator_terms if step % term.every_steps == 0]
    exchange = Exchange(state.discriminator, real, fake.float(), _mix(state, ranks))
    loss = Loss(
        rules.objective.discriminator_loss(real_scores.float(), fake_scores.float()),
        {term.name: term.loss(exchange) for term in due},
    )
    return _descend("discriminator", loss, state, ranks, is_last=not rules.is_generators_turn(step))


def _train_generator(
    state: TrainingState, real: Tensor, fake: Tensor, rules: Rules, ranks: Ranks
) -> dict[str, Tensor]:
    state.discriminator.requires_grad_(
        requires_grad=False
    )  # saves the gradients of its kernels: 1/9 of a step
    judged_fake = _judged(state, _augmented(state, fake, "generator/fake", ranks))
    judged_real = (
        _judged(state, _augmented(state, real, "generator/real", ranks))
        if rules.shows_generator_reals
        else None
    )
    real_scores = judged_real.scores if judged_real else None
    added = {term.name: term.loss(judged_real, judged_fake) for term in rules.generator_terms if judged_real}
    loss = Loss(rules.objective.generator_loss(judged_fake.scores, real_scores), added)
    losses = _descend("generator", loss, state, ranks, is_last=True)
    state.discriminator.requires_grad_(requires_grad=True)
    return losses


def _augmented(state: TrainingState, images: Tensor, stream: str, ranks: Ranks) -> Tensor:
    """The images as the discriminator shall see them."""
    if state.augmentation is None:
        return images
    draws = Draws.of(state.spec.seed, stream, state.images_seen, state.spec.batch_size)
    return augment(images, state.augmentation, draws.of_part(ranks.part(state.spec.batch_size)))


def _judged(state: TrainingState, images: Tensor) -> Judged:
    with state.environment.autocast():
        features = state.discriminator.features(images)  # (N, F)
        scores = state.discriminator.score(features)  # (N,)
    return Judged(images.float(), features.float().flatten(1), scores.float())


def _descend(
    player: Literal["generator", "discriminator"],
    loss: Loss,
    state: TrainingState,
    ranks: Ranks,
    *,
    is_last: bool,
) -> dict[str, Tensor]:
    """Learn from the loss, and from that of the other ranks. Returns it by name.

    At the last descent of a step no backward pass is to come that needs batch norm's statistics as they are.
    """
    network, optimizer = state.player(player)
    loss.total.backward()  # type: ignore[no-untyped-call]
    losses = _named(player, loss)
    gradients = (parameter.grad for parameter in network.parameters() if parameter.grad is not None)
    ranks.average(chain(gradients, losses.values(), state.statistics() if is_last else ()))
    optimizer.step()
    optimizer.zero_grad()  # to None: the next backward pass then writes instead of adding
    return losses


def _latents(state: TrainingState, prior: Prior, ranks: Ranks) -> Tensor:
    """This rank's part (N, Z) of the batch's latents."""
    count, size = state.spec.batch_size, state.generator.latent_size
    drawn = noise(state.spec.seed, "latents", state.images_seen, count, size, prior)
    return torch.from_numpy(drawn[ranks.part(count)]).to(state.environment.device)


def _mix(state: TrainingState, ranks: Ranks) -> Tensor:
    """How much of the real is in each point between a real and a fake: (N, 1, 1, 1), uniform in (0, 1)."""
    count = state.spec.batch_size
    words = random_words(state.spec.seed, "mix", state.images_seen, count)[ranks.part(count)]
    return torch.from_numpy(unit_interval(words)).to(state.environment.device)[:, None, None, None]


def _average(state: TrainingState, images: int) -> None:
    """Let the average follow a generator's step, which has taken so many images."""
    halflife = ema.ramped_halflife(state.spec.ema_halflife_images, state.images_seen + state.spec.batch_size)
    ema.keep(ema.decay(halflife, images), state.ema, state.generator)


def _named(player: str, loss: Loss) -> dict[str, Tensor]:
    """A player's total loss and, where it has several parts, each by name."""
    parts = {f"{player}/{name}": part.detach() for name, part in loss.parts.items()}
    return {player: loss.total.detach(), **(parts if loss.terms else {})}
