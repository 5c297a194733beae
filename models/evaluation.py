"""Evaluates a run's generator by samples, paths and scores, always against the same real pictures.

It evaluates the generator that would be served, with images rounded to pixels as for serving. Latents and
pictures are the same at every evaluation of a run, so evaluations differ only by the weights.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from contract.evaluation import AdversarialAccuracy, Distance, Evaluation, Floor, LatentPaths
from contract.training import TrainingSpec
from models import metrics, objectives, priors
from models.allocator import returning_large_blocks
from models.augment import Draws, augment
from models.datasets.arrays import Pixels
from models.ema import served_generator
from models.features import CHOICES, Features
from models.latents import noise, shares
from models.networks.pair import Discriminator, Generator
from models.panel import PATHS, POINTS, Indices, Panel
from models.pixels import to_numbers, to_pixels
from models.priors.paths import path
from models.randomness import coin_flips, random_words
from models.silence import silent
from models.state import TrainingState

SAME = 1e-6
"""The smallest mean distance of the reals: keeps figures in its units finite if all reals look the same."""
CHUNK = 64
"""Images held as floats at once."""


@dataclass(frozen=True)
class Reference:
    """The statistics of a run's reals, shared by all its evaluations."""

    reals: metrics.Reals
    known: metrics.Known
    floor: metrics.Likeness
    """Of training pictures in the place of samples; if the reals are such themselves, of one half of them to
    the other."""

    @classmethod
    def of(cls, reals: Tensor, neighbours: Tensor, *, are_new: bool, samples: int) -> Self:
        """Compute from features of reals (N, F), new or trained on, and of training pictures (V, T, F)."""
        told = metrics.Reals.of(reals, at_least=SAME)
        if are_new:
            floor = metrics.Likeness.of(told, _picked(neighbours, samples))
        else:
            floor = metrics.Likeness.of(metrics.Reals.of(reals[1::2], at_least=SAME), reals[::2])
        return cls(told, metrics.Known.of(neighbours, reals if are_new else None), floor)


def _picked(pictures: Tensor, count: int) -> Tensor:
    """At most `count` of the pictures (V, T, F), evenly spaced and in their views by turns: (M, F)."""
    views, known = pictures.shape[:2]
    places = torch.linspace(0, known - 1, min(count, known)).round().long()
    return pictures[torch.arange(len(places)) % views, places]


class Judge:
    """Evaluates the states of one run."""

    def __init__(
        self,
        spec: TrainingSpec,
        pixels: Pixels,
        panel: Panel,
        features: Features,
        show_life: Callable[[], None] = silent,
    ) -> None:
        """`pixels` holds all pictures (N, C, R, R). `show_life` is called every few dozen images."""
        self._spec = spec
        self._pixels = pixels
        self._panel = panel
        self._features = features
        self._show_life = show_life
        self._mirrored = coin_flips(spec.seed, "evaluation/mirror", 0, len(panel.reals)) & spec.mirror

    @returning_large_blocks()
    def evaluate(self, state: TrainingState, losses: dict[str, float]) -> Evaluation | None:
        """Evaluate the generator that `state` would serve; None if its images or their scores are not finite.

        Does not change the state.
        """
        generator = served_generator(state)
        fakes = self._samples(state, generator)  # (M, C, R, R) uint8
        if fakes is None:
            return None
        samples, accuracy = len(fakes), self._accuracy(state, fakes)
        if accuracy is None:
            return None
        fake_features = self._features_of(torch.split(fakes, CHUNK))
        del fakes  # 200 MB at 256 px, to make room for the paths
        names = CHOICES[self._spec.evaluation.features].distance_names
        reference = self._reference
        floor, likeness = reference.floor, metrics.Likeness.of(reference.reals, fake_features)
        kernel, support = likeness.kernel, likeness.support
        return Evaluation(
            images_seen=state.images_seen,
            samples=samples,
            reals=len(self._panel.reals),
            split=self._panel.split,
            features=f"{self._features.name}/{self._features.version}",
            frechet=Distance(
                name=names[0],
                value=likeness.frechet,
                floor=floor.frechet,
            ),
            kernel=Distance(name=names[1], value=kernel.value, error=kernel.error, floor=floor.kernel.value),
            precision=support.precision,
            recall=support.recall,
            density=support.density,
            coverage=support.coverage,
            diversity=likeness.diversity,
            repeated=likeness.repeated,
            floor=Floor(
                samples=floor.samples,
                diversity=floor.diversity,
                repeated=floor.repeated,
                **asdict(floor.support),
            ),
            memorised=metrics.memorised(fake_features, reference.known),
            searched=len(self._panel.neighbours),
            training_pictures=self._panel.training,
            adversarial_accuracy=accuracy,
            latent_paths=self._paths(state, generator, reference.reals.scale),
            losses=losses,
        )

    @returning_large_blocks()
    def prepare(self) -> None:
        """Compute what evaluations compare with, unless it is known: before the first evaluation.

        Not before training, so that a resumed run can continue at once.
        """
        _ = self._reference

    @cached_property
    def _reference(self) -> Reference:
        views: list[Iterable[Tensor]] = [self._pictures(self._panel.neighbours)]
        if self._spec.mirror:
            views.append(chunk.flip(3) for chunk in self._pictures(self._panel.neighbours))
        return Reference.of(
            self._features_of(map(self._reals, _chunks(np.arange(len(self._panel.reals))))),
            torch.stack([self._features_of(view) for view in views]),  # (V, T, F)
            are_new=self._panel.split == "held_out",
            samples=self._panel.samples,
        )

    def _pictures(self, indices: Indices) -> Iterator[Tensor]:
        """The pixels of pictures, a chunk at a time, because all of them can take hundreds of megabytes."""
        for some in _chunks(indices):
            yield torch.from_numpy(self._pixels[some])

    def _reals(self, places: Indices) -> Tensor:
        """The pixels of reals, by their positions in the panel.

        If the run mirrors images, a fixed random half of the reals is mirrored, as the generator has learnt.
        """
        pixels = torch.from_numpy(self._pixels[self._panel.reals[places]])  # (N, C, R, R)
        mirrored = torch.from_numpy(self._mirrored[places])[:, None, None, None]
        return torch.where(mirrored, pixels.flip(3), pixels)

    def _samples(self, state: TrainingState, generator: Generator) -> Tensor | None:
        prior = priors.build(self._spec.prior)
        drawn = noise(
            self._spec.seed, "evaluation", 0, self._panel.samples, generator.latent_size, prior
        )  # (M, Z)
        return self._rendered(state, generator, torch.from_numpy(drawn))

    def _paths(self, state: TrainingState, generator: Generator, scale: float) -> LatentPaths:
        ends = random_words(self._spec.seed, "evaluation/paths", 0, 2 * PATHS * generator.latent_size)
        start, end = shares(ends).reshape(2, PATHS, -1)
        latents = path(priors.build(self._spec.prior), start, end, POINTS)  # (P, T, Z)
        images = self._rendered(state, generator, torch.from_numpy(latents).flatten(0, 1))
        assert images is not None, "its samples were numbers"
        features = self._features_of(torch.split(images, CHUNK)).reshape(PATHS, POINTS, -1)  # (P, T, F)
        found = metrics.continuity(features, scale)
        return LatentPaths(paths=PATHS, points=POINTS, length=found.length, smoothness=found.smoothness)

    @torch.inference_mode()
    def _rendered(self, state: TrainingState, generator: Generator, latents: Tensor) -> Tensor | None:
        """Render latents (N, Z) to pixels (N, C, R, R) on the CPU; None if some values are not finite.

        Writes into one preallocated tensor: concatenating chunks would need twice the memory.
        """
        spec, memory_format = state.spec, state.environment.memory_format
        shape = (len(latents), spec.channels, spec.resolution, spec.resolution)
        pixels = torch.empty(shape, dtype=torch.uint8, memory_format=memory_format)
        for some, place in zip(torch.split(latents, CHUNK), torch.split(pixels, CHUNK), strict=True):
            with state.environment.autocast():
                images = generator(some.to(state.environment.device)).float()
            if not images.isfinite().all():
                return None
            place.copy_(to_pixels(images))
            self._show_life()
        return pixels

    def _accuracy(self, state: TrainingState, fakes: Tensor) -> AdversarialAccuracy | None:
        """None if a score is not finite: weights and losses may be finite still."""
        discriminator = copy.deepcopy(state.discriminator)  # batch norm updates its statistics
        real = _scores(state, discriminator, self._reals, len(self._panel.reals), "real")
        fake = _scores(state, discriminator, lambda places: fakes[places], len(fakes), "fake")
        if not (real.isfinite().all() and fake.isfinite().all()):
            return None
        are_logits = objectives.build(self._spec.objective).scores_are_logits
        found, at_half = (
            metrics.adversarial_accuracy(real, fake, scores_are_logits=are_logits, threshold=threshold)
            for threshold in (self._spec.evaluation.accuracy_threshold, 0.5)
        )
        return AdversarialAccuracy(
            real=found.real,
            fake=found.fake,
            threshold=self._spec.evaluation.accuracy_threshold,
            real_at_half=at_half.real,
            fake_at_half=at_half.fake,
            calibrated=found.calibrated,
            judged_reals=found.reals,
            judged_samples=found.fakes,
        )

    def _features_of(self, chunks: Iterable[Tensor]) -> Tensor:
        """The features (N, F) of chunks of pixels."""
        parts = []
        for pixels in chunks:
            parts.append(self._features.of(to_numbers(pixels)))
            self._show_life()
        return torch.cat(parts)


@torch.no_grad()
def _scores(
    state: TrainingState,
    discriminator: Discriminator,
    pixels: Callable[[Indices], Tensor],
    count: int,
    kind: Literal["real", "fake"],
) -> Tensor:
    """The scores (N,) of `count` pictures, in batches like a rank's in training, because of batch norm.

    The pictures are augmented as in training, because the discriminator has never seen any others. `pixels`
    returns those at the given positions.
    """
    draws = Draws.of(state.spec.seed, f"evaluation/{kind}", 0, count)
    batches = max(1, count // state.spec.part.batch_size)
    scores = []
    for places in np.array_split(np.arange(count), batches):
        images = to_numbers(pixels(places).to(state.environment.device))
        if state.augmentation is not None:
            images = augment(images, state.augmentation, Draws(draws.values[:, places]))
        with state.environment.autocast():
            scores.append(
                discriminator(images.contiguous(memory_format=state.environment.memory_format)).float()
            )
    return torch.cat(scores)


def _chunks(indices: Indices) -> Iterator[Indices]:
    return (indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK))
