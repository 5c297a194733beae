"""What fails in a pause of a heavy portion costs this nothing, unless it is the device."""

import threading
from collections.abc import Callable
from typing import NoReturn

import pytest
import redis

from contract.keys import SAMPLES_REPLIES_OF
from tests.worker.asking import PATIENCE_SECONDS, Gateway
from tests.worker.passes import PASSES, SHEET, Passes
from worker.engine import Engine
from worker.rendering import admit
from worker.sampling import SampleConsumer

Start = Callable[..., SampleConsumer]


@pytest.mark.parametrize("fault", [redis.ConnectionError("it is away"), OverflowError("a mistake of ours")])
@pytest.mark.parametrize("place", ["worker.line.Line.look", "worker.line.Line.remove"])
def test_what_fails_in_a_pause_costs_the_sheet_nothing(
    fault: Exception,
    place: str,
    gateway: Gateway,
    engine: Engine,
    start: Start,
    passes: Passes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise fault

    monkeypatch.setattr(place, fail)
    sheet, single = gateway.ask(1, SHEET), gateway.ask(2)
    gateway.push(sheet)
    passes.after(sheet, 1, lambda: gateway.push(single))
    start(engine)
    assert {answer.id: answer.error for answer in gateway.answers(2)} == {sheet.id: None, single.id: None}
    assert passes.of(sheet) == PASSES
    if isinstance(fault, redis.RedisError):
        assert caplog.text.count("sampling Redis is away") == 1


def test_asks_lost_in_a_pause_are_answered_when_they_are_sent_again(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet, single = gateway.ask(1, SHEET), gateway.ask(2)

    def stumble(*_: object) -> NoReturn:
        monkeypatch.setattr("worker.sampling.admit", admit)
        raise OverflowError("a mistake of ours")

    def push_and_stumble() -> None:
        gateway.push(single)
        monkeypatch.setattr("worker.sampling.admit", stumble)

    gateway.push(sheet)
    passes.after(sheet, 1, push_and_stumble)
    passes.after(sheet, 2, lambda: gateway.push(single))
    start(engine)
    assert [answer.id for answer in gateway.answers(2)] == [single.id, sheet.id]


def test_sheet_is_left_to_others_if_the_device_fails_in_a_pause(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet, single = gateway.ask(1, SHEET), gateway.ask(2)
    probe = engine.probe

    has_failed = threading.Event()

    def break_down() -> NoReturn:
        has_failed.set()
        monkeypatch.setattr(engine, "probe", probe)
        raise RuntimeError("the device is gone")

    def fail() -> NoReturn:
        monkeypatch.setattr(engine, "probe", break_down)
        raise RuntimeError("the device is gone")

    gateway.push(sheet)
    passes.after(sheet, 1, lambda: gateway.push(single))
    passes.after(single, 1, fail)
    start(engine)
    assert has_failed.wait(PATIENCE_SECONDS)
    later = gateway.ask(3)
    gateway.push(later)
    assert gateway.answers(1)[0].id == later.id
    assert passes.of(sheet) == 1
    assert not gateway.redis.llen(SAMPLES_REPLIES_OF + gateway.name)
    gateway.push(sheet)
    assert gateway.answers(1)[0].id == sheet.id


def test_sampler_is_probed_in_the_middle_of_a_sheet(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet, probes = gateway.ask(1, SHEET), []
    monkeypatch.setattr(engine, "probe", lambda: probes.append(passes.of(sheet)))
    gateway.push(sheet)
    passes.after(sheet, 2, lambda: monkeypatch.setattr("worker.liveness.PROBE_EVERY_SECONDS", -1))
    passes.after(sheet, 3, lambda: monkeypatch.setattr("worker.liveness.PROBE_EVERY_SECONDS", 10_000))
    start(engine)
    assert gateway.answers(1)[0].error is None
    assert probes.count(2) == 1
