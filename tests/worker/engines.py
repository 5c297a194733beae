"""Engines whose loads can be stopped, and what tests ask of them."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import wait

from contract.sampling import CheckpointPlace, SamplePrecision, SampleSpec
from contract.volume import Volume
from models.environment import detect
from models.loading import loading_bytes
from models.sampler import Sampler
from tests.worker.asking import PATIENCE_SECONDS, PLACE
from worker.engine import Engine, Key

OTHER = CheckpointPlace(job="job_" + "1" * 16, file="generator.safetensors")


def spec_of(digest: str, precision: SamplePrecision = "auto") -> SampleSpec:
    return SampleSpec(digest=digest, seed=7, count=1, precision=precision)


class Stopped(Engine):
    """Begins loads, but finishes none until it may."""

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume, detect("cpu", 1, "float32"), 2**30)
        self.begun, self.may_load = threading.Event(), threading.Event()
        self.loads = 0

    def _load(self, key: Key, place: CheckpointPlace) -> Sampler:
        self.loads += 1
        self.begun.set()
        assert self.may_load.wait(PATIENCE_SECONDS)
        return super()._load(key, place)


def loaded(engine: Engine, spec: SampleSpec, place: CheckpointPlace = PLACE) -> Sampler:
    """Request the generator, wait for its load, and request it again."""
    for _ in range(PATIENCE_SECONDS * 10):
        if sampler := engine.sampler(spec, place):
            return sampler
        if not engine._loading:  # what it needs is looked up, or room was made for it
            time.sleep(0.1)
        assert not wait(engine._loading.values(), PATIENCE_SECONDS).not_done
    raise AssertionError("it was never loaded")


def in_memory(engine: Engine) -> Sequence[str]:
    return [digest for digest, _ in engine._samplers]


def needed_bytes(volume: Volume) -> int:
    """What loading the generator at `OTHER` takes."""
    return loading_bytes(volume.checkpoint(OTHER.job, OTHER.file), detect("cpu", 1, "float32"))
