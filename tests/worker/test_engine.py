"""Generators are loaded outside the serving thread, and render the same after eviction and reloading."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace
from contract.volume import Volume
from models.environment import detect
from models.sampler import Sampler
from tests.worker.asking import PATIENCE_SECONDS, PLACE, save_generator
from tests.worker.engines import OTHER, Stopped, in_memory, loaded, spec_of
from worker.engine import LOADS_AHEAD, Engine

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


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a load needs is known at once, unless looking it up hangs."""
    monkeypatch.setattr("worker.needs._MOMENT_SECONDS", PATIENCE_SECONDS)


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
