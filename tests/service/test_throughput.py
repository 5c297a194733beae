"""The samplers' throughput is an average over time, however their answers are batched."""

import math

import pytest

from service.throughput import Throughput

WINDOW_SECONDS = 2


def answer(
    throughput: Throughput, *, now: float, per_second: float, seconds: float, each_seconds: float = 0.25
) -> float:
    """Answer batches at this pace, of sixteen requests each; return when it ended."""
    throughput.begin(now)
    for _ in range(round(seconds / each_seconds)):
        now += each_seconds
        for position in range(16):
            throughput.count(round(per_second * each_seconds / 16), now + position / 1e6)
    return now


@pytest.mark.parametrize("each_seconds", [0.01, 0.25, 1, 8, 40])
def test_steady_pace_is_measured_however_long_batches_take(each_seconds: float) -> None:
    throughput = Throughput()
    answer(throughput, now=0, per_second=6400, seconds=5 * each_seconds, each_seconds=each_seconds)
    assert throughput.per_second == pytest.approx(6400, rel=0.01)


def test_earlier_pace_has_one_eth_of_the_weight_after_a_window() -> None:
    throughput = Throughput()
    now = answer(throughput, now=0, per_second=6400, seconds=60)
    answer(throughput, now=now, per_second=640, seconds=WINDOW_SECONDS)
    assert throughput.per_second == pytest.approx(640 + (6400 - 640) / math.e, rel=0.01)


def test_long_wait_does_not_outweigh_what_was_measured_before_it() -> None:
    throughput = Throughput()
    now = answer(throughput, now=0, per_second=6400, seconds=60)
    throughput.count(64, now + 1000)
    assert throughput.per_second == pytest.approx(6400 / math.e, rel=0.01)


def test_long_wait_before_the_first_answer_is_outweighed_within_a_window() -> None:
    throughput = Throughput()
    throughput.begin(0)
    throughput.count(64, 1000)
    answer(throughput, now=1000, per_second=6400, seconds=WINDOW_SECONDS)
    assert throughput.per_second == pytest.approx(6400 / (1 + 1 / math.e), rel=0.01)


def test_batch_counts_as_a_whole_though_no_request_waits_for_the_rest_of_it() -> None:
    throughput = Throughput()
    for second in range(10):
        throughput.begin(second)
        for position in range(64):
            throughput.count(100, second + 0.1 + position / 1e6)
            throughput.pause()
    assert throughput.per_second == pytest.approx(64_000, rel=0.001)


def test_answers_after_a_pause_do_not_count() -> None:
    throughput = Throughput()
    now = answer(throughput, now=0, per_second=6400, seconds=60)
    measured = throughput.per_second
    throughput.pause()
    throughput.count(1_000_000, now + 1)
    assert throughput.per_second == measured


def test_work_done_in_between_counts_with_the_next_answer_over_the_whole_time() -> None:
    throughput = Throughput()
    now = answer(throughput, now=0, per_second=6400, seconds=60)
    for tenth in range(1, 100):
        throughput.hold(64)
        assert throughput.per_second == pytest.approx(6400, rel=0.01), tenth
    throughput.count(64_000 - 99 * 64, now + 10)
    assert throughput.per_second == pytest.approx(6400, rel=0.01)


def test_work_done_before_a_pause_does_not_count_after_it() -> None:
    throughput = Throughput()
    now = answer(throughput, now=0, per_second=6400, seconds=60)
    throughput.hold(1_000_000)
    throughput.pause()
    throughput.hold(1_000_000)
    answer(throughput, now=now + 10, per_second=6400, seconds=1)
    assert throughput.per_second == pytest.approx(6400, rel=0.01)
