"""When a benchmark of overload counts latency as back to normal."""

import math
from collections.abc import Sequence

import pytest

from benchmarks.load.loops import Results, Told
from benchmarks.overload import Flood

PER_SECOND = 10
DRAIN_SECONDS = 1.0
NORMAL, SLOW = 0.01, 0.5


def results(begun: float, latencies: Sequence[float], status: int = 200) -> Results:
    told = [
        Told(begun + number / PER_SECOND, seconds, seconds, status)
        for number, seconds in enumerate(latencies)
    ]
    return Results(told)


def recovered_after(latencies: Sequence[float], before: float = NORMAL, status: int = 200) -> float:
    """The time to recover with these latencies after a flood whose last answer came `DRAIN_SECONDS` late."""
    flood = results(100, [SLOW])
    after = results(100 + DRAIN_SECONDS, latencies, status)
    seen = Flood(Results(), results(0, [before] * PER_SECOND), flood, after, Results())
    return seen.recovered_after_seconds()


def test_recovery_counts_from_the_last_request_of_the_flood() -> None:
    assert recovered_after([NORMAL] * 30) == pytest.approx(DRAIN_SECONDS)


def test_single_slow_requests_do_not_count() -> None:
    assert recovered_after(([NORMAL] * 9 + [SLOW]) * 3) == pytest.approx(DRAIN_SECONDS)
    assert recovered_after([NORMAL] * 20 + [SLOW]) == pytest.approx(DRAIN_SECONDS)


def test_recovery_ends_with_the_last_second_that_is_mostly_slow() -> None:
    slow = [SLOW] * 6 + [NORMAL] * 4
    assert recovered_after(slow + [NORMAL] * 20) == pytest.approx(DRAIN_SECONDS + 1)
    assert recovered_after([NORMAL] * 10 + slow + [NORMAL] * 10) == pytest.approx(DRAIN_SECONDS + 2)


def test_latencies_of_before_the_flood_are_normal() -> None:
    assert recovered_after([SLOW] * 30, before=SLOW) == pytest.approx(DRAIN_SECONDS)


def test_load_that_stays_slow_or_refused_has_not_recovered() -> None:
    assert recovered_after([NORMAL] * 10 + [SLOW] * 20) == math.inf
    assert recovered_after([NORMAL] * 30, status=503) == math.inf
