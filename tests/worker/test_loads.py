"""Loads begin when there is memory for them, and hang nobody else."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract.errors import ErrorCode, ServiceError
from contract.sampling import CheckpointPlace, SampleSpec
from contract.volume import Volume
from models.environment import detect
from models.sampler import Sampler
from tests.worker.asking import PATIENCE_SECONDS, PLACE, save_generator
from tests.worker.clock import Clock
from tests.worker.engines import OTHER, Stopped, in_memory, loaded, needed_bytes, spec_of
from worker import engine as module
from worker import hanging
from worker.engine import Engine


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a load needs is known at once, unless looking it up hangs."""
    monkeypatch.setattr("worker.needs._MOMENT_SECONDS", PATIENCE_SECONDS)


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
    monkeypatch.setattr(module, "available_bytes", lambda _: 1)
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


def test_memory_of_evicted_generators_is_used_only_once_nobody_renders_with_them_any_more(
    engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch keeps those that it has asked for until it is over."""
    known, large = spec_of(save_generator(volume)), spec_of(save_generator(volume, 1, OTHER))
    loaded(engine, known)
    third = CheckpointPlace(job="job_" + "2" * 16, file=PLACE.file)
    another = spec_of(save_generator(volume, 2, third))
    monkeypatch.setattr(module, "available_bytes", lambda _: needed_bytes(volume) - 1)
    assert engine.sampler(large, OTHER) is None
    assert not in_memory(engine)
    assert engine.sampler(another, third) is None
    assert not engine._loading
    engine.settle({(engine.key(large), OTHER), (engine.key(another), third)})
    assert engine.sampler(another, third) is None
    assert engine.sampler(large, OTHER) is None
    assert list(engine._loading) == [(engine.key(large), OTHER)]
    assert loaded(engine, large, OTHER).still_works()


def test_room_that_was_made_for_what_nobody_waits_for_any_more_is_had_by_others(
    engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, large = spec_of(save_generator(volume)), spec_of(save_generator(volume, 1, OTHER))
    loaded(engine, known)
    monkeypatch.setattr(module, "available_bytes", lambda _: needed_bytes(volume) - 1)
    assert engine.sampler(large, OTHER) is None
    engine.settle(())
    monkeypatch.undo()
    assert loaded(engine, known).still_works()


def test_refusal_says_how_much_memory_can_be_had(
    engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, large = spec_of(save_generator(volume)), spec_of(save_generator(volume, 1, OTHER))
    loaded(engine, known)
    monkeypatch.setattr(engine, "_bytes", lambda: 7 * 2**20)
    monkeypatch.setattr(module, "available_bytes", lambda _: 5 * 2**20)
    with pytest.raises(ServiceError, match=f"up to {needed_bytes(volume) // 2**20} MiB.* and 12 MiB can be"):
        engine.sampler(large, OTHER)


@contextmanager
def hangs(path: Path) -> Iterator[None]:
    """Whoever opens this file hangs until the end of the block; then it is there."""
    aside = path.rename(path.with_name("aside"))
    os.mkfifo(path)
    try:
        yield
    finally:
        writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        aside.rename(path)
        os.close(writer)


def _once_it_answers(engine: Engine, spec: SampleSpec, place: CheckpointPlace) -> Sampler:
    for _ in range(PATIENCE_SECONDS * 10):
        try:
            return loaded(engine, spec, place)
        except ServiceError:
            time.sleep(0.1)
    raise AssertionError("it never answered")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.needs._MOMENT_SECONDS", 0.01)
    monkeypatch.setattr(hanging, "HANG_SECONDS", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("hangs_at", ["a look at its file", "its load"])
def test_volume_that_hangs_stops_only_what_is_not_in_memory(
    hangs_at: str, engine: Engine, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, missing = spec_of(save_generator(volume)), spec_of(save_generator(volume, 1, OTHER))
    third = CheckpointPlace(job="job_" + "2" * 16, file=PLACE.file)
    another = spec_of(save_generator(volume, 2, third))
    loaded(engine, known)
    path = volume.checkpoint(OTHER.job, OTHER.file)
    if hangs_at == "its load":
        monkeypatch.setattr("worker.needs.loading_bytes", lambda *_: 1)
    with hangs(path):
        begun_at = time.monotonic()
        while True:
            try:
                assert engine.sampler(missing, OTHER) is None
            except ServiceError as refusal:
                assert refusal.code is ErrorCode.VOLUME_FAILING
                break
            assert loaded(engine, known).still_works()
            assert time.monotonic() < begun_at + PATIENCE_SECONDS
        assert bool(engine._loading) == (hangs_at == "its load")
        assert loaded(engine, known).still_works()
        with pytest.raises(ServiceError, match="has not ended for"):
            engine.sampler(another, third)
        engine.settle(())
    monkeypatch.undo()
    for spec, place in ((another, third), (missing, OTHER)):
        assert _once_it_answers(engine, spec, place).still_works()


def test_large_file_may_take_longer_than_a_small_one(tmp_path: Path, clock: Clock) -> None:
    path, reads = tmp_path / "generator", hanging.Reads(clock)
    path.touch()
    os.truncate(path, 10**9)
    with reads.one(path):
        clock.now += hanging.HANG_SECONDS + 45
        reads.require_none_hangs()
        clock.now += 10
        with pytest.raises(ServiceError, match="not ended for 70 s"):
            reads.require_none_hangs()
    reads.require_none_hangs()
