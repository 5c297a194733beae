"""The rate at which the generator and the encoder alone make pictures on one core."""

import multiprocessing
import time
from pathlib import Path

from benchmarks.load.deployment import Laid
from contract.sampling import SampleSpec
from models import environment
from models.sampler import Sampler
from worker.formats.png import encode_png


def bare_rate(laid: Laid, images: int, rounds: int) -> float:
    """Images per second: the best of several rounds, in a separate process with the samplers' environment."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (laid.path, laid.digest, images, rounds))


def _measure(path: Path, digest: str, images: int, rounds: int) -> float:
    numeric = environment.detect("cpu", 1, "auto")
    numeric.apply()
    sampler = Sampler.load(path, digest, numeric)
    best = 0.0
    for number in range(rounds + 1):
        started = time.perf_counter()
        seeds = range(number * images, (number + 1) * images)
        tiles = sampler.render(seeds)
        for index, seed in enumerate(seeds):
            encode_png(tiles[index : index + 1], SampleSpec(digest=digest, seed=seed))
        if number:
            best = max(best, images / (time.perf_counter() - started))
    return best
