"""What is wanted of a running job arrives although the volume hangs, or a process in it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from contract.durable import replace_durably
from contract.job import Progress, State, Want
from contract.volume import Volume
from tests.worker.children import warm_server
from tests.worker.owner import LEASE_SECONDS, PATIENCE_SECONDS, Worker
from tests.worker.training_child import clothes, order_for
from worker import aside, facts, leftovers, link, readings
from worker.child import Child
from worker.facts import read_facts
from worker.ownership import WriteOrder
from worker.readings import Readings

FIRST, SECOND = "job_0000000000000001", "job_0000000000000002"
LONGER_MS = 1200 * LEASE_SECONDS
"""Longer than a lease."""


class Hang:
    """What is put behind it hangs from its start to its end."""

    def __init__(self) -> None:
        self._has_started = threading.Event()
        self._is_over = threading.Event()

    def start(self) -> None:
        self._has_started.set()

    def start_before(self, work: str) -> WriteOrder:
        """Start when the order for the work is written, which is after the claim is on the volume."""

        def write_order(*_: object) -> tuple[str, str]:
            self.start()
            return f"tests.worker.small_work:{work}", ""

        return write_order

    def end(self) -> None:
        self._is_over.set()

    def behind(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def hang(*given: object) -> Any:
            if self._has_started.is_set():
                self._is_over.wait(2 * PATIENCE_SECONDS)
            return work(*given)

        return hang


@pytest.fixture
def hang(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    monkeypatch.setattr(aside, "HANG_SECONDS", 0.1)
    hang = Hang()
    yield hang
    hang.end()


@pytest.fixture
def hanging_volume(hang: Hang, monkeypatch: pytest.MonkeyPatch) -> Hang:
    monkeypatch.setattr(facts, "replace_durably", hang.behind(replace_durably))
    monkeypatch.setattr(leftovers, "drop_torn", hang.behind(leftovers.drop_torn))
    return hang


@pytest.mark.parametrize(
    ("want", "state"), [(Want.CANCEL, State.CANCELLED), (Want.PAUSE, State.PAUSED)], ids=str
)
def test_what_is_wanted_arrives_while_the_volume_hangs_and_is_stated_there_later(
    worker: Worker, hanging_volume: Hang, want: Want, state: State
) -> None:
    worker.submit(FIRST)
    worker.start("hang", hanging_volume.start_before("hang"))
    worker.until(FIRST, lambda record: record.state is State.RUNNING)
    worker.control(FIRST, want)
    left = worker.until(FIRST, lambda record: record if record.state is state else None)
    assert left is not None
    assert left.deaths == 0
    assert _stated(worker.volume) is State.RUNNING
    hanging_volume.end()
    worker.finish()
    final = State.CANCELLED if want is Want.CANCEL else State.QUEUED
    worker.until(FIRST, lambda _: _stated(worker.volume) is final)


def test_success_is_reported_only_once_it_is_on_the_volume(worker: Worker, hanging_volume: Hang) -> None:
    worker.submit(FIRST)
    worker.start("finish", hanging_volume.start_before("finish"))
    claimed = worker.until(FIRST, lambda record: record.lease_until_ms)
    assert claimed
    worker.until(FIRST, lambda record: (record.lease_until_ms or 2 * claimed) > claimed + LONGER_MS)
    assert worker.records.read(FIRST).state is State.RUNNING
    hanging_volume.end()
    worker.until(FIRST, lambda record: record.state is State.SUCCEEDED)
    assert _stated(worker.volume) is State.SUCCEEDED


def test_job_whose_process_does_not_die_is_cancelled_and_the_next_one_waits_for_its_end(
    worker: Worker, hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[ForkServerProcess] = []
    kill = ForkServerProcess.kill

    def let_the_first_hang(process: ForkServerProcess) -> None:
        killed.append(process)
        if process is not killed[0]:
            kill(process)
        elif process.pid:
            os.kill(process.pid, signal.SIGSTOP)

    monkeypatch.setattr(ForkServerProcess, "kill", let_the_first_hang)
    worker.submit(FIRST, SECOND)
    worker.start("hang")
    worker.until(FIRST, lambda record: record.state is State.RUNNING)
    worker.control(FIRST, Want.CANCEL)
    worker.until(FIRST, lambda record: record.state is State.CANCELLED)
    worker.rest_for_a_heartbeat()
    Child.start(warm_server()).end()  # as the threads beside it do
    assert worker.records.read(SECOND).attempt == 0
    kill(killed[0])
    worker.until(SECOND, lambda record: record.attempt)


def test_pace_is_known_while_the_disk_that_is_to_keep_it_hangs(
    volume: Volume, hang: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = threading.Event()

    def keep(path: Path, content: bytes) -> None:
        replace_durably(path, content)
        kept.set()

    monkeypatch.setattr(readings, "replace_durably", hang.behind(keep))
    hang.start()
    volume.run.mkdir()
    now = iter(range(0, 10**6, 100))
    pace = Readings(volume.readings("train-1"), lambda: next(now))
    pace.begin(order_for(volume, clothes(2)).model_dump_json(), 1)
    pace.hear(link.Computing(environment={"device": "cpu"}))
    pace.hear(link.Advanced(progress=Progress(done=1000, total=10**6, images_per_second=10)))
    pace.end()
    assert not kept.is_set()
    assert pace.in_training is None
    assert len(pace.all()) == 1
    hang.end()
    assert kept.wait(PATIENCE_SECONDS)
    assert Readings(volume.readings("train-1")).all() == pace.all()


def _stated(volume: Volume) -> State | None:
    stated = read_facts(volume, FIRST)
    return stated.state if stated else None
