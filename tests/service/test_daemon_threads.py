"""A process that can start no thread makes do with those that it has."""

import pytest

from service.daemon_threads import DaemonThreads
from tests.worker.threadless import no_threads


def test_call_is_refused_for_good_as_long_as_there_is_no_thread() -> None:
    threads = DaemonThreads(2, "volume")
    called: list[str] = []
    with no_threads():
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                threads.submit(lambda: called.append("refused"))
    threads.submit(lambda: called.append("accepted")).result(60)
    threads.close(60)
    assert called == ["accepted"]


def test_call_is_carried_out_by_a_thread_that_is_there_if_no_other_can_be_started() -> None:
    threads = DaemonThreads(3, "volume")
    assert threads.submit(lambda: 1).result(60) == 1
    with no_threads():
        second = threads.submit(lambda: 2)
    assert second.result(60) == 2
    assert threads.submit(lambda: 3).result(60) == 3
    threads.close(60)
