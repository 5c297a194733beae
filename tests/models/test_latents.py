"""The latent of a seed never changes: the values pinned here are a promise, not a snapshot."""

import hashlib
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest
from pydantic import TypeAdapter

from contract import priors as parameters
from contract.training import MAX_SEED
from models import priors
from models.latents import latents, noise
from models.priors.truncation import truncated
from tests.conftest import proof

NORMAL = priors.build(parameters.Normal())
SEEDS = [0, 1, 7, MAX_SEED]
GOLDEN = {
    "normal": "2e2be94df7f4674baad75bc6fa1a553ad352bebae6afb328ba0a7a6eb718f5bf",
    "uniform": "d0a6848bc57aa2a0d6a739e24ab5b071ca8e6cfa7a2f8ba40e869c072d944602",
    "bernoulli": "67dd00b4039b66e10870419302327a3e5b13e23704f2e0ec22af3472688e6a58",
    "bernoulli probability=0.2": "636fc2db1482967181fbf95bfd8f929cff2a0b4a66c16e8a7e52b55fd4109725",
    "exponential": "49dd32e9bec0479b51200343203f51302bda57b168f1cb43c6e560a7053cbe16",
    "poisson": "73daa92d7dee44719b6a13d3d4b8c5182a4b8f15ee70ec946f2e1d364b33c6e2",
    "poisson rate=0.7": "eeadc34cafaaf7d42d4402573f5b30333266532fd0fb709036da105db4eb4db0",
    "truncated_normal": "7bdf23cfcf1f44a6a1a648f37c7d1661e59f21989f1d23f3b0e7df0d80569d9d",
    "truncated_normal bound=1": "da075de9d4cc6428818b4349d11721c95b307b78596c99ffa00e49958e2036f5",
    "normal truncation=0.7": "b43cac610ab2311c12c59263810d6895dbb484209728bfb0d5896c1b8e4f7109",
    "uniform truncation=0.7": "670a4f54669f0e22673b4a3e1b9c61c32bde087df4846ec03d3808fb69598796",
    "exponential truncation=0.7": "4598f62fc479c1eafd4c5ecb511a90784b9779e5ddf8e101a9937b3ea7c85cfe",
    "poisson truncation=0.7": "ee30ff0d10cba889b8b1dbd16694b90f022f89285d1a79edfa0d60c4b513663d",
    "truncated_normal truncation=0.7": "feaa0522579a4cd60a3fa508ea2b581f8e19d5ae0ae9055513aa32cc18e58bff",
}
"""Of the latents of `SEEDS`, Z = 128; each of these numbers was also computed with 40 digits."""
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


def described(words: str) -> priors.Prior:
    """The prior, perhaps truncated, that a key of `GOLDEN` names."""
    kind, _, option = words.partition(" ")
    name, _, value = option.partition("=")
    options = {name: float(value)} if name not in ("", "truncation") else {}
    prior = TypeAdapter(parameters.Prior).validate_python({"kind": kind, **options})
    return truncated(priors.build(prior), float(value) if name == "truncation" else 1)


def hashed(words: str) -> str:
    drawn = latents(SEEDS, 128, described(words))
    return hashlib.sha256(drawn.astype("<f4").tobytes()).hexdigest()


HASH_LATENTS = """
from tests.models.test_latents import GOLDEN, hashed
print({words: hashed(words) for words in GOLDEN} == GOLDEN)
"""


@pytest.mark.parametrize("words", GOLDEN)
def test_latents_match_the_pinned_hash(words: str) -> None:
    assert hashed(words) == GOLDEN[words]


def test_latents_of_every_prior_are_pinned() -> None:
    pinned = {type(described(words)) for words in GOLDEN if "truncation" not in words}
    assert pinned == {*priors.PRIORS.values()}


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


@pytest.mark.parametrize("disabled", dispatched_features()[: proof(1, 100)])
def test_latents_do_not_depend_on_the_instruction_set(disabled: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", HASH_LATENTS],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "True"


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
