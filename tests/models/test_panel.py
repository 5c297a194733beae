"""How often a run is evaluated."""

from collections.abc import Callable

import numpy as np

from contract.training import TrainingSpec
from models.panel import Panel, interval
from models.workload import Workload


def test_run_of_any_length_has_at_most_a_thousand_evaluations(make_spec: Callable[..., TrainingSpec]) -> None:
    panel = Panel.of(np.arange(40), np.arange(40, 60), 0)
    assert panel is not None
    usual, long = make_spec(images=10**6), make_spec(images=10**10 - 1)
    counted = interval(usual, panel, 1)
    assert interval(long, panel, 1) == 10**7 > counted
    assert interval(long.model_copy(update={"images": 1_000 * counted}), panel, 1) == counted
    assert Workload.of(long, panel, 1).evaluations == 1_000


def test_short_run_is_evaluated_four_times_while_that_takes_a_fifth_of_it_at_most(
    make_spec: Callable[..., TrainingSpec],
) -> None:
    panel = Panel.of(np.arange(40), np.arange(40, 60), 0)
    assert panel is not None
    usual = interval(make_spec(images=10**6), panel, 1)

    def evaluations(images: int) -> int:
        return Workload.of(make_spec(images=images), panel, 1).evaluations

    assert [evaluations(count * usual) for count in (1, 2, 4, 5)] == [4, 4, 4, 5]
    assert evaluations(usual // 2) in (2, 3)  # five times as often as usual
    assert evaluations(usual // 100) == 1
