"""Predicts when a run will end, from the training and the evaluations that are left."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from models.workload import passes
from worker.meter import Meter

SLOWEST = 2e9
"""Multiply-adds per second of a slow core that also does other work."""


class Forecast:
    """The seconds left, from the pace of training alone and the duration of evaluations.

    An evaluation takes as long as hundreds of steps, so a pace that includes evaluations is right only in the
    long run. But they come at known counts of images: after the batches that reach a multiple of
    `every_images`, and at the end. Until the first is over, an evaluation is assumed to take as long as
    training with as many multiply-adds, but no longer than at `SLOWEST`: steps of narrow networks, and the
    first ones of all, spend their time on other things. After that, their median is used, because one may
    have had to wait, for example for room on the volume. What the first needs before it, features of the
    reals, counts neither as training nor as an evaluation: it comes only once.
    """

    def __init__(
        self,
        images_seen: int,
        total_images: int,
        *,
        batch_size: int,
        every_images: int,
        multiply_adds: float,
        evaluation_multiply_adds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`total_images` is a multiple of the batch size; `clock` returns seconds.

        `multiply_adds` are those of training on an image, `evaluation_multiply_adds` those of an evaluation.
        """
        self._total_images = total_images
        self._batch_size = batch_size
        self._every_images = every_images
        self._evaluation_images = evaluation_multiply_adds / multiply_adds
        self._longest_seconds = evaluation_multiply_adds / SLOWEST
        self._clock = clock
        self._interrupted_seconds = 0.0
        self._evaluations: list[float] = []  # the seconds of each
        self._meter = Meter(images_seen, lambda: clock() - self._interrupted_seconds)
        self._pace = 0.0
        self._end: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """As of the last reading; None before the first images."""
        return None if self._end is None else max(0.0, self._end - self._clock())

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Context manager around what is not training, and will not come again."""
        began = self._clock()
        try:
            yield
        finally:
            self._interrupted_seconds += self._clock() - began

    @contextmanager
    def evaluating(self, images_seen: int) -> Iterator[None]:
        """Context manager around the evaluation after so many images, and what follows from it."""
        before = self._interrupted_seconds
        try:
            with self.interrupted():
                yield
        finally:
            self._evaluations.append(self._interrupted_seconds - before)
            self._predict(images_seen)

    def update(self, images_seen: int) -> None:
        """Take a reading."""
        self._pace = self._meter.update(images_seen)
        self._predict(images_seen)

    def _predict(self, images_seen: int) -> None:
        if self._pace:
            images_left = max(0, self._total_images - images_seen)
            each = self._seconds_each(self._pace)
            left = images_left / self._pace + self._evaluations_left(images_seen) * each
            self._end = self._clock() + left

    def _evaluations_left(self, images_seen: int) -> int:
        if images_seen >= self._total_images:
            return 0
        every_images, batch_size = self._every_images, self._batch_size
        in_all = passes(self._total_images, every_images, batch_size, at_the_end=True)
        return in_all - passes(images_seen, every_images, batch_size, at_the_end=False)

    def _seconds_each(self, pace: float) -> float:
        if not self._evaluations:
            return min(self._evaluation_images / pace, self._longest_seconds)
        return statistics.median_low(self._evaluations)
