"""Heavy portions keep half of the time, and their deadlines."""

import pytest

from tests.worker.clock import Clock
from worker.slices import SLICE_SECONDS, Progress, Slices, Work


@pytest.fixture
def slices(clock: Clock) -> Slices:
    return Slices(clock)


def test_pause_is_due_once_per_slice(slices: Slices, clock: Clock) -> None:
    assert not slices.is_over
    clock.now += SLICE_SECONDS
    assert slices.is_over
    with slices.pause():
        assert slices.is_paused
    assert not slices.is_paused
    assert not slices.is_over
    clock.now += SLICE_SECONDS
    assert slices.is_over
    slices.begin()
    assert not slices.is_over


def test_work_goes_on_for_as_long_as_the_last_pause_took(slices: Slices, clock: Clock) -> None:
    with slices.pause():
        clock.now += 3
    clock.now += 2.9
    assert not slices.is_over
    clock.now += 0.1
    assert slices.is_over
    assert slices.last_pause_seconds == 3


def test_pause_that_fails_is_over(slices: Slices, clock: Clock) -> None:
    with pytest.raises(OverflowError), slices.pause():
        clock.now += 3
        raise OverflowError
    assert not slices.is_paused
    assert not slices.is_over


def test_pause_is_afforded_as_long_as_the_deadline_is_far(slices: Slices) -> None:
    assert not slices.endanger([], 0, 0)
    assert not slices.endanger([Work(20, 0, 30)], 0, 0)
    assert slices.endanger([Work(20, 0, 23)], 0, 0), "too little is left for encoding it"
    assert slices.endanger([Work(20, 0, 19)], 0, 0), "it may be faster than expected"
    assert not slices.endanger([Work(20, 0, 14)], 0, 0), "it is late anyway"


def test_time_for_enlarging_is_left(slices: Slices) -> None:
    assert not slices.endanger([Work(5, 0, 10, enlarging_seconds=3)], 0, 0)
    assert slices.endanger([Work(5, 0, 10, enlarging_seconds=4)], 0, 0)


def test_what_is_done_takes_no_more_time(slices: Slices) -> None:
    assert slices.endanger([Work(20, 0.5, 11)], 10, 0)
    assert not slices.endanger([Work(20, 0.5, 14)], 10, 0)


def test_estimate_follows_what_the_part_that_is_done_has_taken(slices: Slices) -> None:
    assert not slices.endanger([Work(10, 0.5, 13)], 5, 0)
    assert slices.endanger([Work(10, 0.5, 13)], 10, 0), "half as fast as expected"
    assert slices.endanger([Work(10, 0, 22)], 0, 0), "so are others"
    assert not slices.endanger([Work(10, 0.5, 4)], 1, 0)


def test_longer_pauses_are_afforded_later(slices: Slices, clock: Clock) -> None:
    assert not slices.endanger([Work(20, 0, 24)], 0, 0)
    with slices.pause():
        clock.now += 1
    assert slices.endanger([Work(20, 0, 24)], 0, 0)


def test_pause_that_is_expected_to_be_long_must_be_affordable(slices: Slices) -> None:
    assert not slices.endanger([Work(20, 0, 26)], 0, 2)
    assert slices.endanger([Work(20, 0, 26)], 0, 3)
    assert slices.endanger([Work(10, 0.5, 9)], 10, 1.5), "as all else, it takes twice as long as expected"


def test_hopeless_is_only_who_would_be_late_without_a_pause(slices: Slices) -> None:
    assert slices.endanger([Work(20, 0, 21)], 0, 100)


def test_refused_pause_leaves_a_slice_and_the_memory_of_the_last(slices: Slices, clock: Clock) -> None:
    with slices.pause():
        clock.now += 3
    clock.now += 3
    with slices.pause():
        clock.now += 0.1
        slices.refuse()
    assert not slices.is_over
    assert slices.last_pause_seconds == 3
    with slices.pause():
        clock.now += 0.1
    assert slices.last_pause_seconds == pytest.approx(0.1)


def test_last_pause_of_another_batch_does_not_count(slices: Slices, clock: Clock) -> None:
    with slices.pause():
        clock.now += 3
    slices.begin()
    clock.now += SLICE_SECONDS
    assert slices.is_over


def test_none_that_waits_behind_another_is_endangered(slices: Slices) -> None:
    assert not slices.endanger([Work(10, 0, 20), Work(10, 0, 30)], 0, 0)
    assert slices.endanger([Work(10, 0, 20), Work(10, 0, 21)], 0, 0)
    assert not slices.endanger([Work(10, 0, 20), Work(10, 0, 14)], 0, 0), "it is late anyway"


def test_progress_is_the_share_of_passes() -> None:
    progress = Progress(passes=4, begun_at=0)
    progress.passed += 1
    assert progress.share == 0.25
