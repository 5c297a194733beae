"""The bytes that sampler processes send depend only on the ask, not on load, restarts or reloads."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from contract.checkpoint import CheckpointHeader
from contract.sampling import CheckpointPlace, SampleSpec
from contract.volume import Volume
from contract.wire import Answer, Ask
from models.checkpoint import save_checkpoint
from models.inference import rendering_environment
from models.sampler import Sampler, renderer
from tests.conftest import proof
from tests.trained import ARCHITECTURES, spec_of, trained
from tests.worker.asking import Gateway
from worker.formats.identity import encoders
from worker.formats.png import encode_png

CLIENTS = proof(2, 4)
BURSTS = proof(2, 20)
SINGLES = proof(2, 12)
POOL = 64
"""Number of seeds that clients choose from: rendered once here, and many times by the samplers."""


class Expected:
    """The expected answer to every ask, rendered in this process."""

    def __init__(self, volume: Volume, places: dict[str, CheckpointPlace]) -> None:
        automatic = rendering_environment("cpu", 1)
        exact = automatic.model_copy(update={"precision": "float32"})
        self.renderer = f"{renderer(automatic)}-e{encoders()}"
        self._pixels = {
            (digest, precision): Sampler.load(
                volume.checkpoint(place.job, place.file), digest, environment
            ).render(range(2 * POOL))
            for digest, place in places.items()
            for precision, environment in (("auto", automatic), ("float32", exact))
        }

    def content(self, spec: SampleSpec) -> bytes:
        tiles = self._pixels[spec.digest, spec.precision][spec.seed : spec.seed + spec.count]
        return encode_png(tiles, spec)


@contextmanager
def sampler_process(volume: Volume, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A sampler with room for one generator, which the next one evicts."""
    settings = {"DATA_ROOT": str(volume.root), "REDIS_URL": url, "GENERATORS_BYTES": "1", "DEVICE": "cpu"}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "worker", "--role", "sample"],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **{f"DCGAN_{name}": value for name, value in settings.items()},
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def ask_in_bursts(gateways: list[Gateway], by_id: dict[str, Ask], seed: int) -> list[tuple[Ask, Answer]]:
    """Send bursts of singles and one sheet per generator and precision, in random order.

    The asks are added to `by_id`, as the second answer to an ask that was sent twice may come much later.
    """
    randomness = np.random.default_rng(seed)
    answered = []
    for _ in range(BURSTS):
        asks = []
        for gateway in gateways:
            for precision in ("auto", "float32"):
                singles = randomness.integers(POOL, size=SINGLES).tolist()
                counts = [1] * len(singles) + [int(randomness.integers(2, POOL))]
                for first, count in zip([*singles, 0], counts, strict=True):
                    asks.append(gateway.ask(first, count, precision=precision))
        burst = {asks[index].id: asks[index] for index in randomness.permutation(len(asks))}
        by_id |= burst
        answered += [(by_id[answer.id], answer) for answer in gateways[0].persist(burst)]
    return answered


@pytest.mark.timeout(proof(600, 3600))
def test_bytes_depend_only_on_the_ask(redis_url: str, volume: Volume) -> None:
    rendering_environment("cpu", 1).apply()
    places: dict[str, CheckpointPlace] = {}
    for index, kind in enumerate(ARCHITECTURES):
        spec = spec_of(kind, width=16)
        place = CheckpointPlace(job=f"job_{'0' * 15}{index}", file="generator.safetensors")
        header = CheckpointHeader(job=place.job, spec=spec, images_seen=spec.images)
        places[save_checkpoint(trained(spec), header, volume.checkpoint(place.job, place.file))] = place
    expected = Expected(volume, places)
    clients = [
        [Gateway(redis_url, digest, place, f"g{client}") for digest, place in places.items()]
        for client in range(CLIENTS)
    ]
    asked: list[dict[str, Ask]] = [{} for _ in clients]
    samples = 0
    for start in range(2):
        with sampler_process(volume, redis_url), ThreadPoolExecutor(CLIENTS) as pool:
            seeds = range(start * CLIENTS, (start + 1) * CLIENTS)
            for answered in pool.map(ask_in_bursts, clients, asked, seeds):
                for ask, answer in answered:
                    assert answer.error is None, answer.detail
                    assert answer.renderer == expected.renderer
                    assert answer.content == expected.content(ask.spec), ask.spec.canonical()
                    samples += ask.spec.count
    assert samples >= proof(500, 20_000)
