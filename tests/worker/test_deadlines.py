"""Nothing is rendered that no gateway waits for any more."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from models.sampler import Sampler
from tests.worker.asking import Gateway
from worker.engine import Engine
from worker.sampling import SampleConsumer

COUNT = 128


@pytest.fixture
def consumer(gateway: Gateway, engine: Engine, start: Callable[[Engine], SampleConsumer]) -> SampleConsumer:
    """A consumer whose generator is loaded."""
    consumer = start(engine)
    gateway.push(gateway.ask(7))
    assert gateway.answers(1)[0].error is None
    return consumer


@pytest.fixture
def passes(consumer: SampleConsumer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in each forward pass for a sheet, from now on."""
    made = []
    images = Sampler._images

    def watched(self: Sampler, rows: NDArray[np.float32]) -> Tensor:
        if len(rows) > 1:
            made.append(len(rows))
        return images(self, rows)

    monkeypatch.setattr(Sampler, "_images", watched)
    return made


@pytest.mark.parametrize("late", [1, 2])
def test_rendering_stops_after_the_forward_pass_in_which_the_last_deadline_passes(
    late: int,
    gateway: Gateway,
    consumer: SampleConsumer,
    passes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sheets = [gateway.ask(seed, COUNT) for seed in (0, 500)]
    are_late = {sheet.id for sheet in sheets[:late]}
    monkeypatch.setattr(consumer, "_is_awaited", lambda ask: not passes or ask.id not in are_late)
    gateway.push(*sheets)
    answered = gateway.answers(2) if late == 1 else []
    after = gateway.ask(7)
    gateway.push(after)
    assert gateway.answers(1)[0].id == after.id
    gateway.push(gateway.ask(8))
    gateway.answers(
        1
    )  # in a later batch, so the sheets are over even if they were taken together with `after`
    assert sorted(answer.id for answer in answered) == sorted(sheet.id for sheet in sheets if late == 1)
    if late == 2:
        assert len(passes) == 1
    else:
        assert sum(passes) == 2 * COUNT
    assert consumer.trouble is None
