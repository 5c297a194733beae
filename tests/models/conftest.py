"""Fixtures of the smallest real parts: networks of width 4, four pictures, batches of two."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.training import TrainingSpec
from models.batches import Batches
from models.environment import NumericEnvironment, detect
from models.state import TrainingState
from tests.specs import resolved

MakeSpec = Callable[..., TrainingSpec]
MakeBatches = Callable[[TrainingSpec], Batches]

TINY = {
    "dataset": "ds_" + "0" * 16,
    "preset": "fast",
    "name": None,
    "architecture": {"kind": "dcgan", "latent_size": 8, "generator_width": 4, "discriminator_width": 4},
    "resolution": 32,
    "channels": 3,
    "images": 16,
    "batch_size": 2,
}


@pytest.fixture(scope="session")
def make_spec() -> MakeSpec:
    """Make the spec of a job of 32 px and eight steps, with a test's changes."""
    return lambda **changes: resolved(TINY | changes)


@pytest.fixture(scope="session")
def pictures() -> NDArray[np.uint8]:
    """Four pictures of noise (4, 3, 32, 32), always the same."""
    return np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)


@pytest.fixture(scope="session")
def make_batches(pictures: NDArray[np.uint8]) -> MakeBatches:
    """Make the batches that a trainer takes from the four pictures."""
    return lambda spec: Batches(
        pictures[:, : spec.channels],
        np.arange(len(pictures)),
        batch_size=spec.batch_size,
        seed=spec.seed,
        device="cpu",
        mirror=spec.mirror,
    )


@pytest.fixture
def spec(make_spec: MakeSpec) -> TrainingSpec:
    return make_spec()


@pytest.fixture(scope="session", autouse=True)
def environment() -> NumericEnvironment:
    """One thread: at these sizes a second one only waits for the first."""
    environment = detect("cpu", 1, "float32")
    environment.apply()
    return environment


@pytest.fixture
def state(spec: TrainingSpec, environment: NumericEnvironment) -> TrainingState:
    return TrainingState.fresh(spec, environment)
