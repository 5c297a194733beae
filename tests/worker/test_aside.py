"""Work aside is waited for only so long, and what becomes of it is always told."""

import threading

import pytest

from tests.worker.threadless import no_threads
from worker.aside import Aside

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
