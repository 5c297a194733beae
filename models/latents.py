"""The permanently specified latent of a seed, and all other noise, from the same functions.

**Specification.** The latent of `seed` (0 … 2^53 - 1) with Z coordinates under a prior is

1. `raw`: the first Z 64-bit outputs of Philox 4x64 with 10 rounds (Salmon et al. 2011, "Parallel random
   numbers: as easy as 1, 2, 3"), key (seed, 0), counter starting at (1, 0, 0, 0): each block of four words in
   order. This is `numpy.random.Philox(key=seed).random_raw(Z)`; numpy counts before it computes, hence the 1;
2. `u = ((raw >> 12) + 1/2) · 2^-52`: the midpoint of one of 2^52 equal cells of (0, 1). The highest 52 bits,
   not 53: midpoints of 53-bit cells need 54 bits, more than float64 has, and the highest would round to 1;
3. `prior.quantile(u)` in float64, by operations that IEEE 754 rounds exactly;
4. rounded to float32, to nearest, ties to even.

The first coordinates do not depend on Z. Nothing depends on the machine, on torch or on the batch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.priors import Prior
from models.randomness import random_words


def latents(seeds: Sequence[int], size: int, prior: Prior) -> NDArray[np.float32]:
    """The latents (N, Z) of `seeds`, one row each."""
    return prior.quantile(shares_of(seeds, size)).astype(np.float32)


def shares_of(seeds: Sequence[int], size: int) -> NDArray[np.float64]:
    """The shares (N, Z) in (0, 1) whose quantiles are the latents of `seeds`."""
    philox = np.random.Philox(key=0)
    beginning = philox.state
    raw = np.empty((len(seeds), size), dtype=np.uint64)
    for row, seed in enumerate(seeds):  # 3 µs per seed; a new Philox for each would take 18
        beginning["state"]["key"][0] = seed
        philox.state = beginning
        raw[row] = philox.random_raw(size)
    return shares(raw)


def noise(seed: int, stream: str, index: int, count: int, size: int, prior: Prior) -> NDArray[np.float32]:
    """Draws (count, Z) that are a function of the arguments alone: there is no state to save or restore."""
    words = random_words(seed, stream, index, count * size).reshape(count, size)
    return prior.quantile(shares(words)).astype(np.float32)


def shares(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Step 2 of the specification: the shares in (0, 1) whose quantiles are the latents."""
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
