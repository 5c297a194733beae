"""Random numbers that are a function of (seed, stream, index): there is no state to save or restore.

`index` is the position of a draw in its stream: the number of images seen before it, or an epoch.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def random_words(seed: int, stream: str, index: int, count: int) -> NDArray[np.uint64]:
    """The first `count` 64-bit words of the Philox sequence that belongs to (seed, stream, index)."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{index}".encode(), digest_size=16).digest()
    words = np.random.Philox(key=int.from_bytes(digest, "little")).random_raw(count)
    return np.asarray(words, dtype=np.uint64)


def unit_interval(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Uniform numbers in (0, 1): the midpoints of 2^23 cells, each a float32 number."""
    return ((words >> np.uint64(41)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def coin_flips(seed: int, stream: str, index: int, count: int) -> NDArray[np.bool_]:
    """Fair coin flips: the highest bit of each word."""
    return (random_words(seed, stream, index, count) >> np.uint64(63)).astype(np.bool_)


def permutation(seed: int, stream: str, index: int, count: int) -> NDArray[np.int64]:
    """The numbers 0 … count − 1 in random order."""
    return np.argsort(random_words(seed, stream, index, count), kind="stable")
