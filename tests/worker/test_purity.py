"""The bytes that sampler processes send depend only on the ask, not on load, restarts or reloads."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import get_args

import numpy as np
import pytest

from contract.checkpoint import CheckpointHeader
from contract.formats import FORMS
from contract.latents import unpack
from contract.sampling import CheckpointPlace, SampleOptions, SamplePrecision, SampleSpec
from contract.volume import Volume
from contract.wire import Answer, Ask
from models.checkpoint import save_checkpoint
from models.inference import rendering_environment
from models.sampler import Sampler, renderer
from tests.conftest import proof
from tests.trained import ARCHITECTURES, spec_of, trained
from tests.worker.asking import Gateway
from worker.formats import FORMATS, FORMATS_OF_NUMBERS
from worker.formats.identity import encoders

SAMPLERS = (2, 1)[: proof(1, 2)]
"""How many there are at a time, in turn."""
CLIENTS = proof(2, 4)
BURSTS = proof(1, 7)
"""How many each client sends before the next sampler ends."""
ENDS = (None, signal.SIGKILL, signal.SIGTERM)
"""How a sampler ends while clients wait, in turn. Another takes its place."""
FORMS_OF_IMAGES = ((32, 3), (64, 1), (32, 3))
"""Resolution and channels, by architecture."""
SINGLES = proof(2, 12)
POOL = 64
"""How many single pictures of a generator clients choose from; samplers render each many times."""
VARIED = 16
"""How many other samples they choose from: of any format, options and points."""
MOST_TILES = 48


class Menu:
    """What clients ask of one generator, and the bytes of each when rendered alone, in this process."""

    def __init__(self, sampler: Sampler, digest: str, precision: SamplePrecision, chance: Random) -> None:
        self.singles = [SampleSpec(digest=digest, seed=seed, precision=precision) for seed in range(POOL)]
        self.varied = [_varied(digest, precision, sampler.draw([0]).shape[1], chance) for _ in range(VARIED)]
        self._expected = {spec: _alone(sampler, spec) for spec in (*self.singles, *self.varied)}

    def content(self, spec: SampleSpec) -> bytes:
        return self._expected[spec]


def _varied(digest: str, precision: SamplePrecision, latent_size: int, chance: Random) -> SampleSpec:
    chosen = chance.choice(list(FORMS))
    count = chance.randint(1, MOST_TILES)
    options: dict[str, object] = {"precision": precision}
    if FORMS[chosen].holds != "numbers":
        options |= {"scale": chance.randint(1, 2), "resample": chance.choice(["nearest", "lanczos"])}
    if FORMS[chosen].holds == "a sheet":
        options |= {"padding": chance.randint(0, 2), "columns": chance.randint(1, count)}
    if chance.random() < 0.3:
        latents = [[chance.gauss(0, 1) for _ in range(latent_size)] for _ in range(count)]
        return SampleSpec.of_latents(digest, chosen, latents, SampleOptions.model_validate(options))
    options["truncation"] = chance.choice([1, 0.5])
    start = chance.randrange(10**6)
    if chance.random() < 0.3:
        at = chance.random() if count == 1 else None
        ends = start, start + chance.randint(1, 10**6)
        asked = SampleOptions.model_validate(options)
        return SampleSpec.of_path(digest, chosen, ends, asked, count=count, at=at)
    seeds = chance.choice([range(start, start + count), chance.sample(range(10**6), count)])
    return SampleSpec.of_seeds(digest, chosen, seeds, SampleOptions.model_validate(options))


def _alone(sampler: Sampler, spec: SampleSpec) -> bytes:
    """Its bytes, put together without what samplers use to render several asks at once."""
    if spec.to is not None:
        drawn = sampler.draw_paths([(spec.seed, spec.to)], [spec.ways], spec.truncation)
    elif spec.latents is None:
        drawn = sampler.draw(spec.seeds, spec.truncation)
    else:
        drawn = np.array(unpack(spec.latents, spec.count), dtype=np.float32)
    if spec.format in FORMATS_OF_NUMBERS:
        return FORMATS_OF_NUMBERS[spec.format](sampler.render_latent_floats(drawn), spec)
    return FORMATS[spec.format](sampler.render_latents(drawn), spec)


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
        process.wait(120)


def ask_in_bursts(
    gateways: Mapping[str, Gateway], menus: Sequence[Menu], by_id: dict[str, Ask], seed: int
) -> list[tuple[Ask, Answer]]:
    """Send bursts of singles and of one other sample from every menu, in random order.

    The asks are added to `by_id`, as the second answer to an ask that was sent twice may come much later.
    """
    chance = Random(seed)
    answered = []
    for _ in range(BURSTS):
        specs = [
            spec
            for menu in menus
            for spec in (*chance.choices(menu.singles, k=SINGLES), chance.choice(menu.varied))
        ]
        asks = [replace(gateways[spec.digest].ask(0), spec=spec) for spec in specs]
        burst = {ask.id: ask for ask in chance.sample(asks, len(asks))}
        by_id |= burst
        answered += [(by_id[answer.id], answer) for answer in next(iter(gateways.values())).persist(burst)]
    return answered


@pytest.mark.timeout(proof(1800, 3600))
def test_bytes_depend_only_on_the_ask(redis_url: str, volume: Volume) -> None:
    rendering_environment("cpu", 1).apply()
    places: dict[str, CheckpointPlace] = {}
    for index, (kind, form) in enumerate(zip(ARCHITECTURES, FORMS_OF_IMAGES, strict=True)):
        spec = spec_of(kind, 16, *form)
        place = CheckpointPlace(job=f"job_{'0' * 15}{index}", file="generator.safetensors")
        header = CheckpointHeader(job=place.job, spec=spec, images_seen=spec.images)
        path = volume.checkpoint(place.job, place.file)
        path.parent.mkdir(parents=True)
        places[save_checkpoint(trained(spec), header, path)] = place
    automatic = rendering_environment("cpu", 1)
    environments = {"auto": automatic, "float32": automatic.model_copy(update={"precision": "float32"})}
    menus = {
        (digest, precision): Menu(
            Sampler.load(volume.checkpoint(place.job, place.file), digest, environments[precision]),
            digest,
            precision,
            Random(digest),
        )
        for digest, place in places.items()
        for precision in get_args(SamplePrecision)
    }
    clients = [
        {digest: Gateway(redis_url, digest, place, f"g{client}") for digest, place in places.items()}
        for client in range(CLIENTS)
    ]
    asked: list[dict[str, Ask]] = [{} for _ in clients]
    seeds = itertools.count()
    samples = 0
    for processes in SAMPLERS:
        with ExitStack() as running, ThreadPoolExecutor(CLIENTS) as pool:
            samplers = [running.enter_context(sampler_process(volume, redis_url)) for _ in range(processes)]
            for end in ENDS:
                asking = pool.map(ask_in_bursts, clients, itertools.repeat([*menus.values()]), asked, seeds)
                if end is not None:
                    samplers.pop(0).send_signal(end)
                    samplers.append(running.enter_context(sampler_process(volume, redis_url)))
                for ask, answer in itertools.chain.from_iterable(asking):
                    assert answer.error is None, answer.detail
                    assert answer.renderer == f"{renderer(automatic)}-e{encoders()}"
                    expected = menus[ask.spec.digest, ask.spec.precision].content(ask.spec)
                    assert answer.content == expected, ask.spec.canonical()
                    samples += ask.spec.count
    assert samples >= proof(200, 20_000)
