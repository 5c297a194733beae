"""Generators are loaded outside the serving thread, and render the same after eviction and reloading."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace, SamplePrecision, SampleSpec
from contract.volume import Volume
from models.environment import detect
from models.sampler import Sampler
from tests.worker.asking import PATIENCE_SECONDS, PLACE, save_generator
from worker import engine as module
from worker.engine import LOADING, LOADS_AHEAD, Engine, Key

OTHER = CheckpointPlace(job="job_" + "1" * 16, file="generator.safetensors")


ONE_THREAD = """
import os, sys, threading
from pathlib import Path
from contract.volume import Volume
from models.environment import detect
from worker.engine import Engine

def threads():
    return len(os.listdir("/proc/self/task"))

def serve():
    engine.begin()
    before = threads()
    engine.probe()
    assert threads() == before, (threads(), before)
    ended.append(True)

ended = []
environment = detect("cpu", 1, "float32")
environment.apply()
engine = Engine(Volume(Path(sys.argv[1])), environment, 1)
serving = threading.Thread(target=serve)
serving.start()
serving.join()
assert ended
"""


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
    if (sampler := engine.sampler(spec, place)) is None:
        assert not wait(engine._loading.values(), PATIENCE_SECONDS).not_done
        sampler = engine.sampler(spec, place)
    assert sampler is not None
    return sampler


def in_memory(engine: Engine) -> Sequence[str]:
    return [digest for digest, _ in engine._samplers]


def needed_bytes(volume: Volume) -> int:
    """What loading the generator at `OTHER` takes."""
    return LOADING * volume.checkpoint(OTHER.job, OTHER.file).stat().st_size


def test_generator_is_loaded_once(engine: Engine, volume: Volume) -> None:
    spec = spec_of(save_generator(volume))
    assert loaded(engine, spec) is loaded(engine, spec)


def test_evicted_generator_renders_the_same_when_it_is_loaded_again(volume: Volume) -> None:
    digests = [save_generator(volume), save_generator(volume, 1, OTHER)]
    one, other = spec_of(digests[0]), spec_of(digests[1])
    engine = Engine(volume, detect("cpu", 1, "float32"), limit_bytes=1)
    before = loaded(engine, one).render_floats(range(9))
    assert in_memory(engine) == digests[:1]
    loaded(engine, other, OTHER)
    assert in_memory(engine) == digests[1:]
    assert np.array_equal(loaded(engine, one).render_floats(range(9)), before)


def test_least_recently_used_generator_is_evicted(volume: Volume) -> None:
    places = [CheckpointPlace(job=f"job_{'0' * 15}{index}", file=PLACE.file) for index in range(3)]
    digests = [save_generator(volume, index, place) for index, place in enumerate(places)]
    first, second, third = (spec_of(digest) for digest in digests)
    engine = Engine(volume, detect("cpu", 1, "float32"), 2**30)
    engine._limit_bytes = 2 * loaded(engine, first, places[0]).bytes
    loaded(engine, second, places[1])
    loaded(engine, first, places[0])
    loaded(engine, third, places[2])
    assert in_memory(engine) == [digests[0], digests[2]]


def test_float32_on_request_is_a_separate_generator_in_memory(volume: Volume) -> None:
    digest = save_generator(volume)
    engine = Engine(volume, detect("cpu", 1, "bfloat16"), 2**30)
    plain = Sampler.load(volume.checkpoint(PLACE.job, PLACE.file), digest, detect("cpu", 1, "float32"))
    fastest = loaded(engine, spec_of(digest)).render_floats([7])
    exact = loaded(engine, spec_of(digest, "float32")).render_floats([7])
    assert np.array_equal(exact, plain.render_floats([7]))
    assert not np.array_equal(fastest, exact)


def test_float32_is_the_same_generator_where_auto_is_float32(engine: Engine, volume: Volume) -> None:
    digest = save_generator(volume)
    assert loaded(engine, spec_of(digest, "float32")) is loaded(engine, spec_of(digest))
    assert engine.precisions == ("auto",)


def test_generator_that_could_exhaust_the_memory_is_refused_and_costs_no_other(
    engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, large = save_generator(volume), save_generator(volume, 1, OTHER)
    small = loaded(engine, spec_of(known))
    monkeypatch.setattr(module, "available_bytes", lambda _: needed_bytes(volume) - small.bytes - 1)
    with pytest.raises(ServiceError) as refusal:
        engine.sampler(spec_of(large), OTHER)
    assert refusal.value.code is ErrorCode.INSUFFICIENT_MEMORY
    assert in_memory(engine) == [known]


def test_others_are_evicted_first_if_memory_is_short(
    engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, large = save_generator(volume), save_generator(volume, 1, OTHER)
    loaded(engine, spec_of(known))
    monkeypatch.setattr(module, "available_bytes", lambda _: needed_bytes(volume) - 1)
    assert loaded(engine, spec_of(large), OTHER).still_works()
    assert in_memory(engine) == [large]


def test_generator_on_a_gpu_is_not_evicted_for_memory_of_the_host(
    engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, large = save_generator(volume), save_generator(volume, 1, OTHER)
    environment = detect("cpu", 1, "float32").model_copy(update={"device": "cuda"})
    on_gpu = Engine(volume, environment, 2**30)
    on_gpu._samplers[on_gpu.key(spec_of(known))] = loaded(engine, spec_of(known))
    monkeypatch.setattr(module, "available_bytes", lambda _: needed_bytes(volume) - 1)
    with pytest.raises(ServiceError) as refusal:
        on_gpu.sampler(spec_of(large), OTHER)
    assert refusal.value.code is ErrorCode.INSUFFICIENT_MEMORY
    assert in_memory(on_gpu) == [known]


def test_load_waits_for_another_if_there_is_no_memory_for_both_and_none_overtakes_it(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, large = spec_of(save_generator(volume)), spec_of(save_generator(volume, 1, OTHER))
    monkeypatch.setattr(module, "available_bytes", lambda _: needed_bytes(volume) * 1.5)
    engine = Stopped(volume)
    assert engine.sampler(first, PLACE) is None
    assert engine.sampler(large, OTHER) is None
    assert list(engine._loading) == [(engine.key(first), PLACE)]
    monkeypatch.setattr(module, "available_bytes", lambda _: 2**40)
    assert engine.sampler(large.model_copy(update={"digest": "sha256:" + "0" * 64}), PLACE) is None
    assert list(engine._loading) == [(engine.key(first), PLACE)]
    engine.may_load.set()
    assert loaded(engine, first).still_works()
    assert loaded(engine, large, OTHER).still_works()


def test_held_generator_is_not_evicted_and_what_lacks_its_memory_waits(
    engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, large = save_generator(volume), save_generator(volume, 1, OTHER)
    loaded(engine, spec_of(known))
    monkeypatch.setattr(module, "available_bytes", lambda _: needed_bytes(volume) - 1)
    with engine.holding([engine.key(spec_of(known))]):
        assert engine.sampler(spec_of(large), OTHER) is None
        assert not engine._loading
        assert in_memory(engine) == [known]
    assert loaded(engine, spec_of(large), OTHER).still_works()
    assert in_memory(engine) == [large]


def test_others_are_evicted_instead_of_a_held_generator(volume: Volume) -> None:
    places = [CheckpointPlace(job=f"job_{'0' * 15}{index}", file=PLACE.file) for index in range(3)]
    held, *others = (save_generator(volume, index, place) for index, place in enumerate(places))
    engine = Engine(volume, detect("cpu", 1, "float32"), limit_bytes=1)
    loaded(engine, spec_of(held), places[0])
    with engine.holding([engine.key(spec_of(held))]):
        for digest, place in zip(others, places[1:], strict=True):
            loaded(engine, spec_of(digest), place)
            assert in_memory(engine) == [held, digest]
    loaded(engine, spec_of(others[0]), places[1])
    assert in_memory(engine) == others[:1]


@pytest.mark.parametrize(
    "harm",
    [Path.touch, Path.mkdir, lambda path: path.symlink_to(path)],
    ids=["empty", "a directory", "a loop of links"],
)
def test_damaged_file_is_refused_once_and_then_read_again(
    engine: Engine, volume: Volume, harm: Callable[[Path], object]
) -> None:
    spec = spec_of(save_generator(volume))
    path = volume.checkpoint(PLACE.job, PLACE.file)
    aside = path.rename(path.with_name("aside"))
    harm(path)
    with pytest.raises(ServiceError) as refusal:
        loaded(engine, spec)
    assert refusal.value.code is ErrorCode.CHECKPOINT_UNREADABLE
    if path.is_dir():
        path.rmdir()
    aside.rename(path)
    assert loaded(engine, spec).still_works()


def test_generator_is_not_unreadable_while_the_volume_is_away(engine: Engine, volume: Volume) -> None:
    spec = spec_of(save_generator(volume))
    away = volume.root.rename(volume.root.with_name("away"))
    volume.root.mkdir()
    with pytest.raises(ServiceError, match="not mounted") as refusal:
        loaded(engine, spec)
    assert refusal.value.code is ErrorCode.VOLUME_FAILING
    volume.root.rmdir()
    away.rename(volume.root)
    assert loaded(engine, spec).still_works()


def test_load_that_nobody_waits_for_is_cached_within_the_limit(volume: Volume) -> None:
    digests = [save_generator(volume), save_generator(volume, 1, OTHER)]
    one, other = spec_of(digests[0]), spec_of(digests[1])
    engine = Engine(volume, detect("cpu", 1, "float32"), limit_bytes=1)
    assert engine.sampler(one, PLACE) is None
    assert engine.sampler(other, OTHER) is None
    wait(engine._loading.values(), PATIENCE_SECONDS)
    engine.settle({(engine.key(one), PLACE)})
    assert in_memory(engine) == digests[1:]
    assert len(engine._loading) == 1
    engine.settle(())
    assert in_memory(engine) == digests[:1]
    assert not engine._loading


def test_few_loads_exceed_the_limit_however_many_generators_are_requested_at_once(volume: Volume) -> None:
    places = [CheckpointPlace(job=f"job_{'0' * 15}{index}", file=PLACE.file) for index in range(5)]
    wanted = {spec_of(save_generator(volume, index, place)): place for index, place in enumerate(places)}
    engine = Engine(volume, detect("cpu", 1, "float32"), limit_bytes=1)
    while wanted:
        came = [spec for spec, place in wanted.items() if engine.sampler(spec, place)]
        wanted = {spec: place for spec, place in wanted.items() if spec not in came}
        assert len(in_memory(engine)) <= 1
        assert len(engine._loading) == min(LOADS_AHEAD, len(wanted))
        assert not wait(engine._loading.values(), PATIENCE_SECONDS).not_done


def test_failed_load_that_nobody_waits_for_is_forgotten(engine: Engine, volume: Volume) -> None:
    spec = spec_of(save_generator(volume))
    path = volume.checkpoint(PLACE.job, PLACE.file)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert engine.sampler(spec, PLACE) is None
    wait(engine._loading.values(), PATIENCE_SECONDS)
    engine.settle(())
    path.write_bytes(whole)
    assert loaded(engine, spec).still_works()


def test_queued_load_that_nobody_waits_for_is_cancelled(volume: Volume) -> None:
    engine = Stopped(volume)
    spec = spec_of(save_generator(volume))
    engine.sampler(spec, PLACE)
    assert engine.begun.wait(PATIENCE_SECONDS)
    engine.sampler(spec_of(save_generator(volume, 1, OTHER)), OTHER)
    engine.settle({(engine.key(spec), PLACE)})
    engine.may_load.set()
    assert loaded(engine, spec).still_works()
    engine._loader.shutdown()
    assert engine.loads == 1


def test_probe_uses_a_tiny_generator_until_another_is_loaded(engine: Engine, volume: Volume) -> None:
    engine.probe()
    assert engine._canary is not None
    sampler = loaded(engine, spec_of(save_generator(volume)))
    engine.probe()
    for tensor in sampler._generator.buffers():
        if not tensor.is_mkldnn:
            tensor.add_(1)
    with pytest.raises(RuntimeError, match="no longer"):
        engine.probe()


def test_serving_thread_uses_the_number_of_threads_in_its_environment(volume: Volume) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", ONE_THREAD, str(volume.root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
