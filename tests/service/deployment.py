"""A gateway and a worker played by the test, for tests of what happens after a job has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from contract.job import Failure, State
from contract.keys import JOB_KEYS
from contract.owning import leave
from tests.service.playing import Worker

KEY = JOB_KEYS
DAY = 86_400


@dataclass
class Deployment:
    """A gateway and its worker."""

    client: httpx.Client
    worker: Worker
    dataset: str
    stop: Callable[[], None] = lambda: None

    def end(self, state: State = State.CANCELLED, **request: object) -> str:
        """Submit a job, end it in this state, and return its id."""
        answer = self.client.post("/jobs", json={"dataset": self.dataset, **request})
        assert answer.status_code == 202, answer.text
        job_id = str(answer.json()["id"])
        if state is State.CANCELLED:
            assert self.client.post(f"/jobs/{job_id}/cancel").status_code == 202
            return job_id
        lease = self.worker.claim()
        assert lease.id == job_id
        if state is State.SUCCEEDED:
            self.worker.checkpoint(lease)
        problem = Failure(code="not_finite", detail="It diverged.") if state is State.FAILED else None
        self.worker.run(leave(lease, state, error=problem))
        return job_id

    def webhook(self, job_id: str) -> Any:
        return self.client.get(f"/jobs/{job_id}").json()["webhook"]

    def age(self, job_id: str, seconds: float) -> None:
        """Move the job's end this long into the past, and make its webhook delivery due."""
        ended_ms = round((time.time() - seconds) * 1000)
        self.worker.redis.hset(KEY.record_of + job_id, "finished_ms", ended_ms)
        self.worker.redis.zadd(KEY.deliveries, {f"{job_id}:own": 1}, xx=True)

    def missing(self) -> dict[str, str]:
        """What `/readyz` says is missing, and why."""
        return {one["part"]: one["detail"] for one in self.client.get("/readyz").json()["missing"]}
