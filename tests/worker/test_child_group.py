"""Several processes for one record: how many work, and whose exit explains why the work ended."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe

import psutil
import pytest

from tests.worker import small_work
from tests.worker.children import warm_server
from worker import link
from worker.child import Child, Chore
from worker.child_group import ChildGroup

WORK = small_work.__name__


@pytest.fixture
def children() -> list[Child]:
    server = warm_server()
    return [Child.start(server) for _ in range(3)]


def test_processes_share_a_meeting_point_and_unneeded_ones_end(children: list[Child]) -> None:
    group = ChildGroup(children)
    group.begin(f"{WORK}:tell_place", "", ranks=2)
    assert not children[2].is_alive
    heard: list[link.Message] = []
    while not heard:
        heard = group.messages(1)
    assert heard == [link.Finished(result={"ranks": 2})]
    while children[0].is_alive or children[1].is_alive:
        assert group.is_alive or not children[0].is_alive  # a clean exit is no failure
    assert group.end() == 0


def test_death_of_one_process_ends_the_group_with_its_exit_code(children: list[Child]) -> None:
    group = ChildGroup(children)
    group.begin(f"{WORK}:lose_the_last", "", ranks=3)
    while group.is_alive:
        assert not group.messages(0.05)
    assert children[0].is_alive
    assert group.end() == -signal.SIGKILL
    assert not any(child.is_alive for child in children)


def test_group_whose_leader_is_silent_is_heard_while_another_waits_for_the_volume(
    children: list[Child],
) -> None:
    group = ChildGroup(children)
    group.begin(f"{WORK}:wait_beside_the_leader", "", ranks=2)
    begun_at = group.heard_at
    while not (heard := group.messages(0.05)):
        assert group.is_alive
    assert isinstance(heard[0], link.Waiting)
    assert children[0].heard_at <= begun_at < group.heard_at
    group.end()


def test_messages_of_several_threads_arrive_whole() -> None:
    supervisor, child = Pipe(duplex=True)
    chore, message = Chore(child), link.Crashed(detail="x" * 1_000_000)
    with ThreadPoolExecutor() as pool:
        heard = pool.submit(lambda: b"".join(iter(lambda: os.read(supervisor.fileno(), 2**16), b"")))
        with child, ThreadPoolExecutor(4) as threads:
            list(threads.map(chore.tell, [message] * 8))
    first = heard.result()[: len(heard.result()) // 8]
    assert len(first) > 1_000_000
    assert heard.result() == 8 * first


def test_work_that_needs_more_processes_than_there_are_is_refused(children: list[Child]) -> None:
    group = ChildGroup(children[:1])
    with pytest.raises(ValueError, match="needs 3 processes"):
        group.begin(f"{WORK}:tell_place", "", ranks=3)
    group.end()
    for child in children[1:]:
        child.end()


def test_child_survives_signals_to_its_forkserver(children: list[Child]) -> None:
    """Only the supervisor obeys signals to a group: if the forkserver died, children would look dead."""
    group = ChildGroup(children)
    group.begin(f"{WORK}:hang", "", ranks=1)
    server = psutil.Process(psutil.Process(children[0].process_id).ppid())
    for number in (signal.SIGTERM, signal.SIGHUP):
        server.send_signal(number)
    later = Child.start(warm_server())  # the server forks it only after handling the signals
    assert psutil.Process(later.process_id).ppid() == server.pid
    assert group.is_alive
    later.end()
    group.ask_to_stop()
    group.end()
