"""A heavy portion pauses for brief asks that arrive meanwhile, and nothing else changes by that."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING
from contract.sampling import BRIEF_WEIGHT, SampleSpec
from contract.volume import Volume
from models.environment import detect
from tests.worker.asking import PATIENCE_SECONDS, Gateway
from tests.worker.passes import PASSES, SHEET, Passes
from worker.engine import Engine
from worker.formats import FORMATS
from worker.formats.png import encode_png
from worker.line import Line, Seen
from worker.portions import portions
from worker.replies import Rendered, Replies
from worker.sampling import SampleConsumer
from worker.slices import Slices, Work

Start = Callable[..., SampleConsumer]


def is_silent(gateway: Gateway) -> bool:
    """Whether no answer is waiting. The later of two answers has been read."""
    return not gateway.redis.llen(SAMPLES_REPLIES_OF + gateway.name)


def test_brief_ask_is_answered_before_the_sheet_that_it_interrupts_with_the_same_bytes(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes
) -> None:
    sheet, single, small = gateway.ask(1, SHEET), gateway.ask(SHEET), gateway.ask(7, 9, format="webp")
    gateway.push(sheet)
    passes.after(sheet, 1, lambda: gateway.push(single))
    passes.after(sheet, 3, lambda: gateway.push(small))
    start(engine)
    disturbed = gateway.answers(3)
    assert [answer.id for answer in disturbed] == [single.id, small.id, sheet.id]
    assert passes.of(sheet) == PASSES
    for answer, ask in zip(disturbed, (single, small, sheet), strict=True):
        gateway.push(ask)
        assert gateway.answers(1)[0].content == answer.content


def test_heavy_ask_is_left_in_the_line_for_another_sampler(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, volume: Volume
) -> None:
    first, second, single = gateway.ask(1, SHEET), gateway.ask(2, SHEET), gateway.ask(3)
    is_overtaken = threading.Event()

    def be_overtaken() -> None:
        assert gateway.redis.lrange(SAMPLES_WAITING, 0, -1) == [second.pack().encode()]
        start(Engine(volume, detect("cpu", 1, "float32"), 2**30), "sample-2")
        assert is_overtaken.wait(PATIENCE_SECONDS)

    gateway.push(first)
    passes.after(first, 1, lambda: gateway.push(second, single))
    passes.after(first, 2, be_overtaken)
    start(engine)
    assert [answer.id for answer in gateway.answers(2)] == [single.id, second.id]
    is_overtaken.set()
    assert gateway.answers(1)[0].id == first.id


def test_copies_of_what_was_taken_are_not_rendered_by_anyone(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes
) -> None:
    first, next_one, single = gateway.ask(1, SHEET), gateway.ask(2, SHEET), gateway.ask(3)
    gateway.push(first, next_one)

    def all_are_gone() -> None:
        assert not gateway.redis.llen(SAMPLES_WAITING)

    passes.after(first, 1, lambda: gateway.push(single, first, next_one, single))
    passes.after(first, 2, all_are_gone)
    start(engine)
    assert [answer.id for answer in gateway.answers(3)] == [single.id, first.id, next_one.id]
    assert [passes.of(ask) for ask in (single, first, next_one)] == [1, PASSES, PASSES]
    assert is_silent(gateway)


def test_answer_lost_after_a_pause_can_be_had_again_in_the_next(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes
) -> None:
    sheet, single = gateway.ask(1, SHEET), gateway.ask(2)
    gateway.push(sheet)
    for number in (1, 2):
        passes.after(sheet, number, lambda: gateway.push(single))
    start(engine)
    assert [answer.id for answer in gateway.answers(3)] == [single.id, single.id, sheet.id]


def test_answer_lost_before_a_sheet_was_begun_can_be_had_again_in_its_pauses(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes
) -> None:
    single, sheet = gateway.ask(1), gateway.ask(2, SHEET)
    is_lost, tick = threading.Event(), threading.Event()

    def ask_again() -> None:
        assert is_lost.wait(PATIENCE_SECONDS)
        assert any(
            not consumer._replies.has(single) or tick.wait(0.01) for _ in range(PATIENCE_SECONDS * 100)
        )
        gateway.push(single)

    passes.after(sheet, 1, ask_again)
    gateway.push(single, sheet)
    consumer = start(engine)
    assert gateway.answers(1)[0].id == single.id
    is_lost.set()
    assert [answer.id for answer in gateway.answers(1)] == [single.id]
    assert gateway.answers(1)[0].id == sheet.id
    assert passes.of(single) == 2


def test_brief_ask_that_arrives_at_the_end_of_a_sheet_is_rendered_before_the_next_sheet(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes
) -> None:
    sheets, single = [gateway.ask(1, SHEET), gateway.ask(2, SHEET)], gateway.ask(3)
    gateway.push(*sheets)
    passes.after(sheets[0], PASSES, lambda: gateway.push(single))
    start(engine)
    gateway.answers(3)
    assert passes.order == [*[sheets[0].id] * PASSES, single.id, *[sheets[1].id] * PASSES]


@pytest.mark.parametrize("arrives_after", [1, PASSES])
def test_brief_ask_does_not_wait_for_the_encoding_of_a_sheet(
    arrives_after: int,
    gateway: Gateway,
    engine: Engine,
    start: Start,
    passes: Passes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sheets, small = [gateway.ask(1, SHEET), gateway.ask(2, SHEET)], gateway.ask(3, 4)
    small_is_answered = threading.Event()

    def slow(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
        assert spec.count < SHEET or small_is_answered.wait(PATIENCE_SECONDS)
        return encode_png(tiles, spec)

    monkeypatch.setitem(FORMATS, "png", slow)
    gateway.push(*sheets)
    passes.after(sheets[1], arrives_after, lambda: gateway.push(small))
    start(engine)
    assert gateway.answers(1)[0].id == small.id
    small_is_answered.set()
    assert [answer.id for answer in gateway.answers(2)] == [sheet.id for sheet in sheets]


@pytest.mark.parametrize("reason", ["it stops", "it idles", "a deadline is near"])
def test_no_ask_is_taken_in_the_middle_of_a_sheet_when(
    reason: str,
    gateway: Gateway,
    engine: Engine,
    start: Start,
    passes: Passes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sheet, single = gateway.ask(1, SHEET), gateway.ask(2)

    def push() -> None:
        gateway.push(single)
        if reason == "it stops":
            consumer._end.set()
        elif reason == "it idles":
            consumer.adopt("theirs")
        else:
            monkeypatch.setattr(Slices, "endanger", lambda *_: True)

    consumer = start(engine)
    gateway.push(gateway.ask(3))
    gateway.answers(1)
    passes.after(sheet, 1, push)
    passes.after(sheet, PASSES, lambda: consumer.adopt("ours"))
    gateway.push(sheet)
    gateway.answers(1 if reason == "it stops" else 2)
    assert passes.order[1 : 1 + PASSES] == [sheet.id] * PASSES


def test_deadlines_of_all_that_waits_are_considered(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Work]] = []
    coming: list[float] = []

    def note(_: Slices, works: list[Work], spent_seconds: float, coming_seconds: float) -> bool:
        assert spent_seconds >= 0
        seen.append(works)
        coming.append(coming_seconds)
        return False

    sheets, single = [gateway.ask(seed, SHEET) for seed in range(3)], gateway.ask(3)
    enlarged = sheets[2].spec.model_copy(update={"scale": 2, "format": "webp"})
    late = replace(sheets[2], spec=enlarged, deadline_ms=sheets[2].deadline_ms + 60_000)
    gateway.push(*sheets[:2])
    passes.after(sheets[0], 1, lambda: gateway.push(late, single, sheets[0], late))
    monkeypatch.setattr(Slices, "endanger", note)
    start(engine)
    gateway.answers(4)
    assert [work.share_done for work in seen[1]] == [1 / PASSES, 0, 0]
    assert len({work.whole_seconds for work in seen[1]}) == 1
    assert [work.enlarging_seconds / work.whole_seconds for work in seen[1]] == [0, 0, 3]
    assert coming[0] == 0
    assert coming[1] * SHEET == pytest.approx(seen[1][0].whole_seconds), "of the single picture"
    left = [work.seconds_left for work in seen[1]]
    assert left[0] <= PATIENCE_SECONDS < left[2]
    assert [len(works) for works in seen[-3:]] == [1, 1, 1], "only the last sheet is left"


def test_refused_pause_says_nothing_of_the_length_of_the_next(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet, seconds = gateway.ask(1, SHEET), []

    def remember() -> None:
        consumer._slices.last_pause_seconds = 7.0
        monkeypatch.setattr(Slices, "endanger", lambda *_: True)

    passes.after(sheet, 1, remember)
    passes.after(sheet, 2, lambda: seconds.append(consumer._slices.last_pause_seconds))
    gateway.push(sheet)
    consumer = start(engine)
    gateway.answers(1)
    assert seconds == [7.0]


def test_asks_that_nobody_awaits_are_no_work(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Work]] = []
    monkeypatch.setattr(Slices, "endanger", lambda _, works, *__: seen.append(works))
    first, small, large = gateway.ask(1, 100, format="npz"), gateway.ask(2, 100), gateway.ask(3, 150)

    def withdraw() -> None:
        monkeypatch.setattr(SampleConsumer, "_is_awaited", lambda _, ask: ask.id != small.id)

    passes.after(first, 1, withdraw)
    gateway.push(first, small, large)
    start(engine)
    assert [answer.id for answer in gateway.answers(2)] == [first.id, large.id]
    (_, before), (_, after) = seen[:2]
    assert after.whole_seconds / before.whole_seconds == pytest.approx(large.spec.count / 250)


def test_brief_sheets_are_not_rendered_with_heavy_ones(gateway: Gateway) -> None:
    """Later brief ones would pass them in the pauses."""
    asks = [gateway.ask(seed, count) for seed, count in enumerate((BRIEF_WEIGHT + 1, 2, 100, BRIEF_WEIGHT))]
    counts = [[ask.spec.count for ask in portion] for portion in portions(asks)]
    assert counts == [[2, BRIEF_WEIGHT], [BRIEF_WEIGHT + 1, 100]]


def test_portion_of_brief_asks_does_not_pause(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes
) -> None:
    """Those that arrive later would pass them."""
    asks, later = [gateway.ask(seed, BRIEF_WEIGHT) for seed in range(9)], gateway.ask(99)
    gateway.push(*asks)
    passes.after(asks[0], 1, lambda: gateway.push(later))
    start(engine)
    gateway.answers(len(asks) + 1)
    assert passes.order == [asks[0].id] * 3 + [later.id]


def test_time_of_a_sheet_does_not_include_the_pauses(
    gateway: Gateway, engine: Engine, start: Start, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Rendered] = []
    give, pauses = Replies.give, [0.0]
    look = Line.look

    def note(replies: Replies, made: Rendered, *, at_once: bool = False) -> None:
        given.append(made)
        give(replies, made, at_once=at_once)

    def dawdle(line: Line, most: int) -> list[Seen]:
        began_at = time.monotonic()
        time.sleep(0.05)
        pauses[0] += time.monotonic() - began_at
        return look(line, most)

    monkeypatch.setattr(Replies, "give", note)
    monkeypatch.setattr(Line, "look", dawdle)
    gateway.push(gateway.ask(1, SHEET))
    start(engine)
    gateway.answers(1)
    assert pauses[0] >= PASSES * 0.05
    assert given[0].begun_at - given[0].taken_at >= pauses[0]
