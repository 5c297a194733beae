"""An ask that a gateway sends again is answered, and not rendered twice without need."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.sampling import SampleSpec
from contract.wire import Ask
from models.sampler import Sampler
from tests.worker.asking import PATIENCE_SECONDS, Gateway
from worker.engine import Engine
from worker.formats import FORMATS
from worker.formats.png import encode_png
from worker.rendering import Images, admit, render
from worker.sampling import SampleConsumer

Start = Callable[..., SampleConsumer]


def test_ask_resent_while_it_is_being_answered_is_rendered_once(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []
    is_encoded, other_is_taken = threading.Event(), threading.Event()

    def slow(tiles: NDArray[np.uint8], spec: SampleSpec) -> bytes:
        is_encoded.set()
        assert other_is_taken.wait(PATIENCE_SECONDS)
        return encode_png(tiles, spec)

    def counted(sampler: Sampler, portion: Sequence[Ask], after_pass: Callable[[], None]) -> Images:
        rendered.extend(ask.spec.seed for ask in portion)
        if 2 in rendered:
            other_is_taken.set()
        return render(sampler, portion, after_pass)

    monkeypatch.setitem(FORMATS, "png", slow)
    monkeypatch.setattr("worker.sampling.render", counted)
    repeated, other = gateway.ask(1, count=2), gateway.ask(2)
    gateway.push(repeated)
    start(engine)
    assert is_encoded.wait(PATIENCE_SECONDS)
    gateway.push(repeated, other)
    assert {answer.id for answer in gateway.answers(2)} == {repeated.id, other.id}  # by two threads
    assert rendered == [1, 2]


def test_ask_of_a_lost_batch_is_answered_when_it_is_sent_again(
    gateway: Gateway, engine: Engine, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_lost = threading.Event()

    def stumble_once(*given: Any) -> Any:
        if not is_lost.is_set():
            is_lost.set()
            raise OverflowError("a mistake of ours")
        return admit(*given)

    monkeypatch.setattr("worker.sampling.admit", stumble_once)
    ask = gateway.ask(1)
    gateway.push(ask)
    start(engine)
    assert is_lost.wait(PATIENCE_SECONDS)
    gateway.push(ask)
    assert gateway.answers(1)[0].id == ask.id
