"""The latent of a seed never changes: the values pinned here are a promise, not a snapshot."""

import hashlib
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from contract import priors as parameters
from contract.training import MAX_SEED
from models import priors
from models.latents import latents, noise

NORMAL = priors.build(parameters.Normal())
SEEDS = [0, 1, 7, MAX_SEED]
GOLDEN = "2e2be94df7f4674baad75bc6fa1a553ad352bebae6afb328ba0a7a6eb718f5bf"
FIRST = [
    [-2.2718842029571533, -0.701327919960022, -1.2189801931381226, 0.16217155754566193],
    [-0.5141658186912537, 1.0309110879898071, -1.010471224784851, -1.864775538444519],
    [1.1362472772598267, -0.5377773642539978, -0.20164360105991364, -0.23941411077976227],
    [-0.24056237936019897, -0.13287502527236938, -0.3692500591278076, 1.0282186269760132],
]


def dispatched_features() -> list[str]:
    """Sets of numpy's SIMD features to disable on this machine: all, all but the oldest, …, the newest."""
    built = importlib.import_module("numpy._core._multiarray_umath")

    able = [name for name in built.__cpu_dispatch__ if built.__cpu_features__.get(name)]
    return [" ".join(able[first:]) for first in range(len(able))]


HASH_LATENTS = """
import hashlib
from contract import priors as parameters
from models import priors
from models.latents import latents
drawn = latents([0, 1, 7, 2**53 - 1], 128, priors.build(parameters.Normal()))
print(hashlib.sha256(drawn.astype("<f4").tobytes()).hexdigest())
"""


def test_latents_match_the_pinned_hash() -> None:
    assert hashlib.sha256(latents(SEEDS, 128, NORMAL).astype("<f4").tobytes()).hexdigest() == GOLDEN


def test_first_values_match_the_pinned_ones() -> None:
    assert latents(SEEDS, 4, NORMAL).tolist() == FIRST


def test_philox_gives_its_published_known_answer() -> None:
    """Random123's known answer for counter 0 and key 0; numpy increments the counter before computing."""
    words = np.random.Philox(key=0, counter=2**256 - 1).random_raw(4)
    assert [f"{word:016x}" for word in words] == [
        "16554d9eca36314c",
        "db20fe9d672d0fdc",
        "d7e772cee186176b",
        "7e68b68aec7ba23b",
    ]


@pytest.mark.parametrize("disabled", ["", *dispatched_features()], ids=lambda names: names or "none")
def test_latents_do_not_depend_on_the_instruction_set(disabled: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", HASH_LATENTS],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == GOLDEN


def test_first_coordinates_do_not_depend_on_the_length() -> None:
    assert np.array_equal(latents(SEEDS, 5, NORMAL), latents(SEEDS, 300, NORMAL)[:, :5])


def test_latent_of_a_seed_does_not_depend_on_the_other_seeds() -> None:
    assert np.array_equal(latents(SEEDS, 16, NORMAL)[2], latents([7], 16, NORMAL)[0])


def test_noise_is_a_function_of_seed_stream_and_index() -> None:
    drawn = noise(1, "latents", 64, 3, 8, NORMAL)
    assert np.array_equal(drawn, noise(1, "latents", 64, 3, 8, NORMAL))
    others = [noise(2, "latents", 64, 3, 8, NORMAL), noise(1, "init", 64, 3, 8, NORMAL)]
    others.append(noise(1, "latents", 128, 3, 8, NORMAL))
    assert not any(np.isin(drawn, other).any() for other in others)


def test_noise_has_mean_zero_and_variance_one() -> None:
    drawn = noise(0, "moments", 0, 1000, 100, NORMAL).astype(np.float64)
    assert abs(drawn.mean()) < 5 / np.sqrt(drawn.size)
    assert abs(drawn.var() - 1) < 5 * np.sqrt(2 / drawn.size)
