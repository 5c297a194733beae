"""Adversarial training as an iterator: advances a state, yields progress. Uses no clock, disk or network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from models import ema
from models.batches import Batches
from models.ranks import Alone, Ranks
from models.recording import RecordedSteps
from models.rules import Rules
from models.state import TrainingState, read
from models.step import Step


@dataclass(frozen=True)
class Progress:
    """The result of a step. Its losses are still on the device and may not be computed yet."""

    images_seen: int
    losses: Mapping[str, Tensor]
    """By player, and by player and term: `discriminator`, `discriminator/r1`, `generator`, …"""

    def read(self) -> dict[str, float]:
        """The losses as numbers. Waits for the device, so call it rarely."""
        return read(self.losses)


def train(state: TrainingState, batches: Batches, ranks: Ranks | None = None) -> Iterator[Progress]:
    """Advance `state` in place, one batch per item, until it has seen the number of images in its spec.

    Between two items the state is consistent and equal on all ranks: it can be saved, served or abandoned.
    """
    rules, ranks = Rules.of(state.spec), ranks or Alone()
    step, batch_size = Step(state, batches, rules, ranks), state.spec.batch_size
    on_gpu = state.environment.device == "cuda" and isinstance(ranks, Alone)
    take = RecordedSteps(step).take if on_gpu else step.take
    while not state.is_over:
        state.set_learning_rates()
        routine = rules.routine(state.images_seen // batch_size, state.augmentation)
        losses = take(routine, step.draw(routine))
        state.losses |= losses
        if routine.is_generators_turn:
            _average(state, batch_size * rules.discriminator_steps)
        state.images_seen += batch_size
        yield Progress(state.images_seen, losses)


def _average(state: TrainingState, images: int) -> None:
    """Update the average after a generator's step that consumed this many images."""
    seen = state.images_seen + state.spec.batch_size - state.watch.begun_images_seen
    halflife = ema.ramped_halflife(state.spec.ema_halflife_images, seen)
    ema.update(state.ema, state.generator, decay=ema.decay_per_batch(halflife, images))
