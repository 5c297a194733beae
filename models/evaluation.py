"""Judging the generator of a run: samples, paths and scores, compared with the same real pictures each time.

The generator is the one that would be served, and its images are rounded to pixels as they would be. Latents
and pictures are the same at every evaluation of a run, so that two of them differ by the weights alone.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contract.evaluation import AdversarialAccuracy, Distance, Evaluation, LatentPaths
from contract.training import MOST_KEPT, TrainingSpec
from models import cost, metrics, objectives, priors
from models.augment import Draws, augment
from models.cost import Cost
from models.ema import STATISTICS_BATCH, STATISTICS_BATCHES, served_generator
from models.features import Features
from models.latents import noise, shares
from models.networks.pair import Discriminator, Generator
from models.pixels import to_numbers, to_pixels
from models.priors.paths import path
from models.randomness import coin_flips, permutation, random_words
from models.silence import silent
from models.state import TrainingState

FEWEST_REALS = 16
"""With fewer pictures held out the reals are training pictures; with fewer of these nothing is judged."""
MOST_REALS = 2_000
MOST_NEIGHBOURS = 2_048
"""Training pictures in which copies are looked for."""
SAMPLES_PER_REAL = 4
FEWEST_SAMPLES, MOST_SAMPLES = 256, 1_024
PATHS, POINTS = 32, 9
SAME = 1e-6
"""The reals' mean distance where all of them look the same: figures in its units stay numbers."""
CHUNK = 64
"""Images in floats at once."""

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Panel:
    """Which pictures a run is judged by: a function of the dataset and the job's seed."""

    reals: Indices
    """In an order of the seed: pictures whose names are near each other may be of one scene."""
    neighbours: Indices
    """The training pictures in which copies are looked for."""
    split: Literal["held_out", "training"]

    @classmethod
    def of(cls, training: Indices, held_out: Indices, seed: int) -> Self | None:
        """The panel from the pictures of both splits, or None where there are too few to judge by."""
        neighbours = np.sort(_drawn(training, MOST_NEIGHBOURS, seed, "neighbours"))
        if len(held_out) >= FEWEST_REALS:
            return cls(_drawn(held_out, MOST_REALS, seed, "reals"), neighbours, "held_out")
        if len(training) >= FEWEST_REALS:
            return cls(_drawn(training, MOST_REALS, seed, "reals"), neighbours, "training")
        return None

    @property
    def samples(self) -> int:
        return min(max(SAMPLES_PER_REAL * len(self.reals), FEWEST_SAMPLES), MOST_SAMPLES)


def interval(spec: TrainingSpec, panel: Panel, features: int) -> int:
    """Images between two evaluations: as asked, or so that they take about 5 % of the time, by counting.

    `features` are the multiply-adds that the feature network takes for an image. However long the run, it has
    no more evaluations than somebody may ask for: each is kept for ever.
    """
    if spec.evaluation.every_images is not None:
        return spec.evaluation.every_images
    trained = Cost.of(spec)
    counted = cost.evaluation_interval(trained, operations(trained, panel, features), spec.batch_size)
    return max(counted, math.ceil(spec.images / (MOST_KEPT * spec.batch_size)) * spec.batch_size)


def operations(trained: Cost, panel: Panel, features: int) -> int:
    """Multiply-adds of one evaluation; `features` are those that the feature network takes for an image."""
    return cost.evaluation(
        trained,
        features,
        generated=panel.samples + PATHS * POINTS + STATISTICS_BATCHES * STATISTICS_BATCH,
        compared=panel.samples + PATHS * POINTS,
        scored=panel.samples + len(panel.reals),
    )


@dataclass(frozen=True)
class Reference:
    """What the reals of a run look like: the same for all its evaluations."""

    moments: metrics.Moments
    pairs: metrics.Pairs
    balls: metrics.Balls
    known: metrics.Known
    floor: metrics.Floor
    scale: float
    """Their mean distance from each other."""

    @classmethod
    def of(cls, reals: Tensor, neighbours: Tensor, *, are_new: bool) -> Self:
        """From the features of the reals (N, F), new or trained on, and of training pictures (V, T, F)."""
        return cls(
            metrics.Moments.of(reals),
            metrics.Pairs.of(reals),
            metrics.Balls.of(reals),
            metrics.Known.of(neighbours, reals if are_new else None),
            metrics.Floor.of(reals),
            max(metrics.mean_pairwise_distance(reals), SAME),
        )


class Judge:
    """Judges the states of one run."""

    def __init__(self, spec: TrainingSpec, pixels: Pixels, panel: Panel, features: Features) -> None:
        """`pixels` holds all pictures (N, C, R, R)."""
        self._spec = spec
        self._pixels = pixels
        self._panel = panel
        self._features = features
        self._mirrored = coin_flips(spec.seed, "evaluation/mirror", 0, len(panel.reals)) & spec.mirror
        self._compared: Reference | None = None

    def evaluate(
        self, state: TrainingState, losses: dict[str, float], show_life: Callable[[], None] = silent
    ) -> Evaluation | None:
        """The figures of the generator that `state` would serve; None if its images are not numbers.

        The state is left as it was. `show_life` is called every few dozen images.
        """
        generator = served_generator(state)
        fakes = self._samples(state, generator, show_life)  # (M, C, R, R) uint8
        if fakes is None:
            return None
        samples, accuracy = len(fakes), self._accuracy(state, fakes)
        fake_features = self._seen(torch.split(fakes, CHUNK), show_life)
        del fakes  # 200 MB at 256 px: their place is the paths'
        names = ("fid", "kid") if self._spec.evaluation.features == "inception" else ("fd", "kd")
        reference = self._reference(show_life)
        kernel = metrics.kernel_distance(reference.pairs, fake_features)
        support = metrics.support(reference.balls, fake_features)
        return Evaluation(
            images_seen=state.images_seen,
            samples=samples,
            reals=len(self._panel.reals),
            split=self._panel.split,
            features=f"{self._features.name}/{self._features.version}",
            frechet=Distance(
                name=names[0],
                value=metrics.frechet_distance(reference.moments, fake_features),
                floor=reference.floor.frechet,
            ),
            kernel=Distance(
                name=names[1], value=kernel.value, error=kernel.error, floor=reference.floor.kernel.value
            ),
            precision=support.precision,
            recall=support.recall,
            density=support.density,
            coverage=support.coverage,
            diversity=metrics.diversity(reference.scale, fake_features),
            memorised=metrics.memorised(fake_features, reference.known),
            adversarial_accuracy=accuracy,
            latent_paths=self._paths(state, generator, reference.scale, show_life),
            losses=losses,
        )

    def _reference(self, show_life: Callable[[], None]) -> Reference:
        """Made for the first evaluation, not before: whoever resumes wants to go on at once."""
        if self._compared is None:
            views: list[Iterable[Tensor]] = [self._pictures(self._panel.neighbours)]
            if self._spec.mirror:
                views.append(chunk.flip(3) for chunk in self._pictures(self._panel.neighbours))
            self._compared = Reference.of(
                self._seen(map(self._reals, _chunks(np.arange(len(self._panel.reals)))), show_life),
                torch.stack([self._seen(view, show_life) for view in views]),  # (V, T, F)
                are_new=self._panel.split == "held_out",
            )
        return self._compared

    def _pictures(self, indices: Indices) -> Iterator[Tensor]:
        """The pixels of pictures, a chunk at a time: of a large set all would be hundreds of megabytes."""
        for some in _chunks(indices):
            yield torch.from_numpy(self._pixels[some])

    def _reals(self, places: Indices) -> Tensor:
        """The pixels of reals by their places in the panel.

        Each is mirrored or not, once and for all, where the run mirrors: as its generator was taught.
        """
        pixels = torch.from_numpy(self._pixels[self._panel.reals[places]])  # (N, C, R, R)
        mirrored = torch.from_numpy(self._mirrored[places])[:, None, None, None]
        return torch.where(mirrored, pixels.flip(3), pixels)

    def _samples(
        self, state: TrainingState, generator: Generator, show_life: Callable[[], None]
    ) -> Tensor | None:
        prior = priors.build(self._spec.prior)
        drawn = noise(
            self._spec.seed, "evaluation", 0, self._panel.samples, generator.latent_size, prior
        )  # (M, Z)
        return _rendered(state, generator, torch.from_numpy(drawn), show_life)

    def _paths(
        self, state: TrainingState, generator: Generator, scale: float, show_life: Callable[[], None]
    ) -> LatentPaths:
        ends = random_words(self._spec.seed, "evaluation/paths", 0, 2 * PATHS * generator.latent_size)
        start, end = shares(ends).reshape(2, PATHS, -1)
        latents = path(priors.build(self._spec.prior), start, end, POINTS)  # (P, T, Z)
        images = _rendered(state, generator, torch.from_numpy(latents).flatten(0, 1), show_life)
        assert images is not None, "its samples were numbers"
        features = self._seen(torch.split(images, CHUNK), show_life).reshape(PATHS, POINTS, -1)  # (P, T, F)
        found = metrics.continuity(features, scale)
        return LatentPaths(paths=PATHS, points=POINTS, length=found.length, smoothness=found.smoothness)

    def _accuracy(self, state: TrainingState, fakes: Tensor) -> AdversarialAccuracy:
        threshold = self._spec.evaluation.accuracy_threshold
        discriminator = copy.deepcopy(state.discriminator)  # batch norm keeps count of what it sees
        found = metrics.adversarial_accuracy(
            _scores(state, discriminator, self._reals, len(self._panel.reals), "real"),
            _scores(state, discriminator, lambda places: fakes[places], len(fakes), "fake"),
            scores_are_logits=objectives.build(self._spec.objective).scores_are_logits,
            threshold=threshold,
        )
        return AdversarialAccuracy(
            real=found.real, fake=found.fake, threshold=threshold, calibrated=found.calibrated
        )

    def _seen(self, chunks: Iterable[Tensor], show_life: Callable[[], None]) -> Tensor:
        """The features (N, F) of pixels that come a chunk at a time."""
        parts = []
        for pixels in chunks:
            parts.append(self._features.of(to_numbers(pixels)))
            show_life()
        return torch.cat(parts)


@torch.inference_mode()
def _rendered(
    state: TrainingState, generator: Generator, latents: Tensor, show_life: Callable[[], None]
) -> Tensor | None:
    """The pixels (N, C, R, R), on the CPU, of latents (N, Z); None if some are not numbers.

    Into one tensor from the beginning: parts, and what they are joined to, would be there at once.
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
        show_life()
    return pixels


@torch.no_grad()
def _scores(
    state: TrainingState,
    discriminator: Discriminator,
    pixels: Callable[[Indices], Tensor],
    count: int,
    kind: Literal["real", "fake"],
) -> Tensor:
    """The scores (N,) of `count` pictures, in batches like a rank's of the training: batch norm sees them.

    They are augmented as in the training: a discriminator has seen no others. `pixels` gives some of them.
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


def _drawn(indices: Indices, most: int, seed: int, stream: str) -> Indices:
    """At most so many of them, and their order, drawn by the seed."""
    return indices[permutation(seed, f"evaluation/{stream}", 0, len(indices))[:most]]
