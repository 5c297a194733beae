"""A worker that owns jobs in a thread of the test, and whose children follow a script."""

import json
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from contract.control import control
from contract.job import Want
from contract.keys import KEYS, RecordKind
from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from tests.contract.records import Records, WholeRecord
from tests.worker.children import warm_server
from worker.child import Child
from worker.child_group import ChildGroup
from worker.later import Later
from worker.ownership import WriteOrder
from worker.process import WorkerProcess
from worker.settings import Settings
from worker.store import Store
from worker.supervisor import Supervisor

T = TypeVar("T")
JOB = RecordKind.JOB
LEASE_SECONDS = 0.5
PATIENCE_SECONDS = 120


class Worker:
    """A supervisor in a thread, whose children do one kind of work."""

    _supervisor: Supervisor

    def __init__(self, url: str, volume: Volume) -> None:
        self.records = Records(url)
        self.volume = volume
        self.later = Later(volume)
        self.watch = VolumeWatch(volume)
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread()

    def submit(self, *job_ids: str) -> None:
        for job_id in job_ids:
            self.volume.job(job_id).mkdir(parents=True)
            self.records.submit(job_id)

    def start(self, work: str, write_order: WriteOrder | None = None, **settings: float) -> None:
        server = warm_server()
        told = {"data_root": self.volume.root, "redis_url": self._url, "lease_seconds": LEASE_SECONDS}
        every_setting = Settings.model_validate(told | settings)
        store = Store(self._url)
        process = WorkerProcess("w0", every_setting, store, self.volume, self.watch, self.later, self._stop)
        self._supervisor = Supervisor(
            JOB,
            process,
            lambda: ChildGroup([Child.start(server)]),
            1,
            write_order or (lambda *_: (f"tests.worker.small_work:{work}", "")),
        )
        self.ring()

    def ring(self) -> None:
        """Ring the supervisor that was started: it works through the queue in a new thread."""
        self._thread = threading.Thread(target=self._supervisor.work_through_queue)
        self._thread.start()

    def finish(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self.finish()

    def rest_for_a_heartbeat(self) -> None:
        threading.Event().wait(LEASE_SECONDS / 5)

    def control(self, job_id: str, want: Want) -> None:
        self.records.run(control(JOB, job_id, want))

    def until(self, job_id: str, condition: Callable[[WholeRecord], T]) -> T:
        for _ in range(100 * PATIENCE_SECONDS):
            if answer := condition(self.records.read(job_id)):
                return answer
            threading.Event().wait(0.01)
        raise AssertionError(self.records.read(job_id))

    def until_it_waits(self, job_id: str) -> None:
        self.until(job_id, lambda record: record.waiting_for)

    def events(self, job_id: str) -> list[Any]:
        entries = self.records.redis.xrange(KEYS[JOB].events_of + job_id)
        return [json.loads(fields["data"]) for _, fields in entries]

    def warnings(self, job_id: str) -> list[str]:
        return [event["code"] for event in self.events(job_id) if "code" in event]
