"""Work aside is waited for only so long, and what becomes of it is always told."""

import threading

import pytest

from tests.worker.threadless import no_threads
from worker.aside import Aside, unless_it_hangs

LONG_SECONDS = 60.0


def test_work_is_done_again_after_a_thread_could_not_be_started() -> None:
    aside, done = Aside("volume"), threading.Event()
    with no_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
        aside.carry_out(done.set, LONG_SECONDS)
    assert aside.carry_out(done.set, LONG_SECONDS) is None
    assert done.is_set()


def test_failure_of_work_that_outlasts_the_patience_is_raised_before_the_next_begins() -> None:
    aside, go_on, next_one = Aside("late"), threading.Event(), threading.Event()

    def fail_late() -> None:
        go_on.wait()
        raise ValueError("late")

    assert aside.carry_out(fail_late, 0) is not None
    assert aside.carry_out(next_one.set, 0) is not None
    (late,) = [thread for thread in threading.enumerate() if thread.name == "late"]
    go_on.set()
    late.join(LONG_SECONDS)
    with pytest.raises(ValueError, match="late"):
        aside.carry_out(next_one.set, LONG_SECONDS)
    assert not next_one.is_set()
    assert aside.carry_out(next_one.set, LONG_SECONDS) is None
    assert next_one.is_set()


def test_work_that_fails_as_threads_do_is_done_once() -> None:
    done: list[threading.Thread] = []

    def fail() -> None:
        done.append(threading.current_thread())
        raise RuntimeError("its own")

    with pytest.raises(RuntimeError, match="its own"):
        unless_it_hangs(fail)
    assert len(done) == 1
    assert done[0] is not threading.current_thread()


def test_work_is_done_without_a_thread_if_none_can_be_started() -> None:
    done = threading.Event()
    with no_threads():
        unless_it_hangs(done.set)
    assert done.is_set()
