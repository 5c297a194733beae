"""One step of adversarial training (Goodfellow et al. 2014, algorithm 1), a function of its random draws.

The discriminator learns from a batch of reals and a batch of fakes; then the generator learns from the same
fakes, scored by the updated discriminator. If the objective uses several discriminator steps, each is a step
here, and the generator learns in the last one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import cached

from models.augment import Draws, augment
from models.batches import Batches
from models.game import Exchange, Judged, Loss
from models.latents import noise
from models.randomness import random_words, unit_interval
from models.ranks import Ranks
from models.rules import Routine, Rules
from models.state import TrainingState

Drawn = Mapping[str, Tensor]
"""All random draws of a step, by name: `indices` and `mirrored` of the batch, `latents`, `mix`, …"""


class Step:
    """The steps of one run, each on this rank's part of the batch."""

    def __init__(self, state: TrainingState, batches: Batches, rules: Rules, ranks: Ranks) -> None:
        self.state = state
        self._batches = batches
        self._rules = rules
        self._ranks = ranks
        self._part = ranks.part(state.spec.batch_size)

    def draw(self, routine: Routine) -> Drawn:
        """The random draws of the next step: a function of (seed, images_seen), computed on the CPU."""
        state, part = self.state, self._part
        seed, images_seen, count = state.spec.seed, state.images_seen, state.spec.batch_size
        size = state.generator.latent_size
        latents = noise(seed, "latents", images_seen, count, size, self._rules.prior)[part]  # (N, Z)
        mix = unit_interval(random_words(seed, "mix", images_seen, count)[part])  # (N,)
        changes = {
            stream: Draws.of(seed, stream, images_seen, count).of_part(part).values  # (7, N)
            for stream in self._augmented_streams(routine)
        }
        drawn = {
            **self._batches.draw(images_seen, part),
            "latents": torch.from_numpy(latents),
            "mix": torch.from_numpy(mix),
            **changes,
        }
        return _pinned(drawn) if state.environment.device == "cuda" else drawn

    def take(self, routine: Routine, drawn: Drawn) -> dict[str, Tensor]:
        """Train the players on the draws. Returns their losses by name."""
        state = self.state
        drawn = {
            name: tensor.to(state.environment.device, non_blocking=True) for name, tensor in drawn.items()
        }
        real = self._batches.images(drawn).contiguous(memory_format=state.environment.memory_format)
        with state.environment.autocast(), torch.set_grad_enabled(routine.is_generators_turn):
            fake = state.generator(drawn["latents"])  # (N, C, R, R)
        losses = self._train_discriminator(routine, drawn, real, fake.detach())
        if routine.is_generators_turn:
            losses |= self._train_generator(routine, drawn, real, fake)
        return losses

    def forget_gradients(self) -> None:
        """Clean up after a step that failed half-way."""
        for optimizer in (self.state.generator_optimizer, self.state.discriminator_optimizer):
            optimizer.zero_grad()

    def _augmented_streams(self, routine: Routine) -> list[str]:
        if routine.augmentation is None:
            return []
        streams = ["real", "fake"]
        if routine.is_generators_turn:
            streams += ["generator/fake"]
            streams += ["generator/real"] if self._rules.shows_generator_reals else []
        return streams

    def _train_discriminator(
        self, routine: Routine, drawn: Drawn, real: Tensor, fake: Tensor
    ) -> dict[str, Tensor]:
        state = self.state
        real = _augmented(routine, drawn, "real", real)
        fake = _augmented(routine, drawn, "fake", fake)
        with state.environment.autocast(), cached():  # weights under spectral norm, for both
            real_scores, fake_scores = state.discriminator.scores_of_each([real, fake])  # (N,), (N,)
        exchange = Exchange(state.discriminator, real, fake.float(), drawn["mix"][:, None, None, None])
        loss = Loss(
            self._rules.objective.discriminator_loss(real_scores.float(), fake_scores.float()),
            {term.name: term.loss(exchange) for term in routine.due},
        )
        losses = self._descend("discriminator", loss, is_last=not routine.is_generators_turn)
        if self._rules.discriminator_terms and not routine.due:  # the adversarial part is the whole loss
            losses["discriminator/adversarial"] = losses["discriminator"]
        return losses

    def _train_generator(
        self, routine: Routine, drawn: Drawn, real: Tensor, fake: Tensor
    ) -> dict[str, Tensor]:
        rules = self._rules
        with _fixed(self.state.discriminator):
            judged_fake = self._judged(_augmented(routine, drawn, "generator/fake", fake))
            real_scores: Tensor | None = None
            added: dict[str, Tensor] = {}
            if rules.shows_generator_reals:
                judged_real = self._judged(_augmented(routine, drawn, "generator/real", real))
                real_scores = judged_real.scores
                added = {term.name: term.loss(judged_real, judged_fake) for term in rules.generator_terms}
            adversarial = rules.objective.generator_loss(judged_fake.scores, real_scores=real_scores)
            return self._descend("generator", Loss(adversarial, added), is_last=True)

    def _judged(self, images: Tensor) -> Judged:
        discriminator = self.state.discriminator
        with self.state.environment.autocast():
            features = discriminator.features(images)  # (N, F)
            scores = discriminator.score(features)  # (N,)
        return Judged(images.float(), features.float().flatten(1), scores.float())

    def _descend(
        self, player: Literal["generator", "discriminator"], loss: Loss, *, is_last: bool
    ) -> dict[str, Tensor]:
        """Update a player by its loss, averaged over the ranks. Returns the loss by name.

        The last descent of a step also averages batch norm's statistics; earlier, a backward pass may still
        need them unchanged.
        """
        network, optimizer = self.state.player(player)
        loss.total.backward()  # type: ignore[no-untyped-call]
        losses = _named(player, loss)
        gradients = (parameter.grad for parameter in network.parameters() if parameter.grad is not None)
        statistics = self.state.statistics() if is_last else ()
        self._ranks.average(chain(gradients, losses.values(), statistics))
        optimizer.step()
        optimizer.zero_grad()  # sets them to None, so that the next backward pass writes instead of adding
        return losses


def _pinned(drawn: Drawn) -> Drawn:
    """Pin the draws, so that the GPU can copy them while it still computes the previous step."""
    return {name: tensor.pin_memory() for name, tensor in drawn.items()}


@contextmanager
def _fixed(discriminator: nn.Module) -> Iterator[None]:
    """Freeze the discriminator: saves the gradients of its kernels, 1/9 of a step."""
    discriminator.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        discriminator.requires_grad_(requires_grad=True)


def _augmented(routine: Routine, drawn: Drawn, stream: str, images: Tensor) -> Tensor:
    """The images as shown to the discriminator."""
    return (
        images
        if routine.augmentation is None
        else augment(images, routine.augmentation, Draws(drawn[stream]))
    )


def _named(player: str, loss: Loss) -> dict[str, Tensor]:
    """A player's total loss and, if it has several parts, each part by name."""
    parts = {f"{player}/{name}": part.detach() for name, part in loss.parts.items()}
    return {player: loss.total.detach(), **(parts if loss.terms else {})}
