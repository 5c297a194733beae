"""A path connects two draws through points that are distributed as the same prior."""

import hashlib
import importlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter

from contract.priors import Prior as Parameters
from models.latents import latents, shares, shares_of
from models.priors import PRIORS, Prior, build
from models.priors.paths import Shares, along, path
from models.priors.truncation import truncated
from models.randomness import random_words

KINDS = [parameters.model_fields["kind"].default for parameters in PRIORS]  # type: ignore[attr-defined]
COUNT = 50_000
BOUND = 1.95 / math.sqrt(COUNT)
"""Bound on the largest distance of two distribution functions; chance exceeds it once in a thousand times."""
CELLS = 2**16
GRID = (np.arange(CELLS) + 0.5) / CELLS


def made(given: object) -> Prior:
    return build(TypeAdapter[Parameters](Parameters).validate_python(given))


def ends(count: int = COUNT) -> tuple[Shares, Shares]:
    """Two independent draws (count, 1)."""
    start, end = (shares(random_words(0, stream, 0, count))[:, None] for stream in ("start", "end"))
    return start, end


def between(prior: Prior, start: Shares, end: Shares, way: float) -> NDArray[np.float32]:
    """The points (P, Z) that far along all paths."""
    return along(prior, start, end, range(len(start)), [way] * len(start))


@pytest.mark.parametrize("way", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("kind", KINDS)
def test_point_between_two_draws_is_distributed_as_the_prior(kind: str, way: float) -> None:
    """The Kolmogorov–Smirnov distance. The bound holds for priors with steps too: theirs is only smaller."""
    prior = made(kind)
    points = between(prior, *ends(), way)[:, 0]
    expected = prior.quantile(GRID).astype(np.float32)
    levels = np.unique(prior.quantile(np.arange(1, 64) / 64).astype(np.float32))
    gaps = [(points <= level).mean() - (expected <= level).mean() for level in levels]
    assert np.abs(gaps).max() < BOUND


@pytest.mark.parametrize("kind", KINDS)
def test_point_between_two_draws_has_zero_mean_and_unit_variance(kind: str) -> None:
    points = between(made(kind), *ends(), 0.5).astype(np.float64)
    assert (points.mean(), points.var()) == pytest.approx((0, 1), abs=0.03)  # at least five deviations


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_between_two_draws_stay_independent(kind: str) -> None:
    start, end = (drawn.reshape(-1, 2) for drawn in ends())
    points = between(made(kind), start, end, 0.5)
    assert abs(np.corrcoef(points.T).flat[1]) < 5 / math.sqrt(len(points))


@pytest.mark.parametrize("kind", KINDS)
def test_ends_of_a_path_are_the_latents_of_its_seeds_bit_for_bit(kind: str) -> None:
    prior = made(kind)
    start, end = (shares(np.random.Philox(key=seed).random_raw(16))[None] for seed in (7, 8))
    found = path(prior, start, end, 5)
    assert np.array_equal(found[:, [0, -1]], latents([7, 8], 16, prior)[None])


def test_path_of_the_normal_prior_is_an_arc() -> None:
    prior = made("normal")
    start, end = ends(1000)
    angle = 0.3 * math.pi / 2
    arc = prior.quantile(start) * math.cos(angle) + prior.quantile(end) * math.sin(angle)
    np.testing.assert_allclose(between(prior, start, end, 0.3), arc, rtol=1e-6, atol=1e-6)


def test_path_turns_by_equal_angles() -> None:
    one, zero = np.full((1, 1), 0.9), np.full((1, 1), 0.5)
    walked = path(made("normal"), one, zero, 7)[0, :, 0]
    np.testing.assert_allclose(np.arccos(walked / walked[0]), np.linspace(0, math.pi / 2, 7), atol=1e-6)


def test_path_backwards_is_the_path_reversed() -> None:
    start, end = ends(100)
    for kind in KINDS:
        there, back = path(made(kind), start, end, 9), path(made(kind), end, start, 9)
        np.testing.assert_allclose(there, back[:, ::-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_path_between_the_outermost_draws_is_finite(kind: str) -> None:
    start, end = np.array([[2.0**-53, 2.0**-53]]), np.array([[1 - 2.0**-53, 2.0**-53]])
    assert np.isfinite(path(made(kind), start, end, 9)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_path_of_a_truncated_prior_stays_in_its_middle(kind: str) -> None:
    prior = made(kind)
    low, high = prior.quantile(np.array([0.25, 0.75])).astype(np.float32)
    points = path(truncated(prior, 0.5), *ends(1000), 5)
    assert low <= points.min() <= points.max() <= high


HASH_PATHS = """
import hashlib
from contract import priors as parameters
from models import priors
from models.latents import shares
from models.randomness import random_words
from models.priors.paths import path
start, end = (shares(random_words(0, stream, 0, 1000))[None] for stream in ("start", "end"))
found = path(priors.build(parameters.Exponential()), start, end, 5)
print(hashlib.sha256(found.astype("<f4").tobytes()).hexdigest())
"""


GOLDEN = {
    "normal": "a716e475c0d1cc2dc01fa4e860e1f6d544914e3c2fcac72eead1cbc5505ecc19",
    "uniform": "61005c57c24c64e93e8c823edb77d3fd7664e04faf2fc2dd6ddad87c5aaa7139",
    "bernoulli": "fb1f17e49ae48ab6081686526c22d14a9ffc2e672caeea3c7ba9fee1c601bc52",
    "exponential": "516820200d91d5467a449271fa48b14a3ec8a063ef81a10f0c772fcce4fe12a2",
    "poisson": "0421b0b13aca60130a213fc9cc30a11495ee6e04d92b63db852cd668f1d011f8",
    "truncated_normal": "97789aa8eb107f5d7d2230ffcbdcd0a752c01d4916ac1058ca69c0aaf0e81e27",
}
"""A promise, not a snapshot; each of these numbers was also computed with 40 digits."""


@pytest.mark.parametrize("kind", KINDS)
def test_path_between_two_seeds_never_changes(kind: str) -> None:
    drawn = shares_of([7, 42], 64)
    points = along(made(kind), drawn[:1], drawn[1:], [0] * 6, [0, 0.25, 0.5, 1 / 3, 0.9, 1])
    assert hashlib.sha256(points.astype("<f4").tobytes()).hexdigest() == GOLDEN[kind]


def test_paths_do_not_depend_on_the_instruction_set() -> None:
    built = importlib.import_module("numpy._core._multiarray_umath")
    able = [name for name in built.__cpu_dispatch__ if built.__cpu_features__.get(name)]
    shown = subprocess.run(
        [sys.executable, "-c", HASH_PATHS],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(able)},
        capture_output=True,
        text=True,
        check=True,
    )
    start, end = (drawn.T for drawn in ends(1000))
    found = path(made("exponential"), start, end, 5)
    assert shown.stdout.strip() == hashlib.sha256(found.astype("<f4").tobytes()).hexdigest()
