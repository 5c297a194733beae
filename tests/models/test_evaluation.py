"""Judging a generator: that it shows life all the while."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.evaluation import CHUNK, Judge, Panel
from models.state import TrainingState


class Means:
    """The means of an image's rows, and how many images were looked at since the last sign of life."""

    name, version, size = "means", "1", 32

    def __init__(self) -> None:
        self.since, self.most, self.seen = 0, 0, 0

    def of(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        self.since += len(images)
        self.most = max(self.most, self.since)
        return images.mean((1, 3))

    def multiply_adds(self, resolution: int) -> int:
        return resolution

    def show_life(self) -> None:
        self.since = 0


def test_every_chunk_of_an_evaluation_is_a_sign_of_life(
    make_spec: Callable[..., TrainingSpec], environment: NumericEnvironment
) -> None:
    spec, features = make_spec(), Means()
    pixels = np.random.default_rng(0).integers(0, 256, (400, 3, 32, 32), dtype=np.uint8)
    panel = Panel.of(np.arange(200), np.arange(200, 400), spec.seed)
    assert panel is not None
    judge, state = Judge(spec, pixels, panel, features), TrainingState.fresh(spec, environment)
    first = judge.evaluate(state, {}, features.show_life)
    assert features.most <= CHUNK
    before = features.seen
    assert judge.evaluate(state, {}, features.show_life) == first
    assert features.seen - before == before - len(pixels), "the reals and the neighbours are looked at once"
