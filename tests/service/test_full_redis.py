"""A Redis that has reached its maxmemory can be read and emptied through the API."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from contract.alias import AliasRecord
from contract.durable import write_durably
from contract.job import CheckpointFact, State
from service import aliases, submitting
from service.routes import datasets
from tests.service.deployment import Deployment
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.waiting import until

DAY = 86_400


@contextmanager
def full(worker: Worker) -> Iterator[None]:
    """Within this block, Redis refuses whatever takes memory."""
    worker.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        worker.redis.config_set("maxmemory", 0)


def test_everything_can_be_read_and_ended_jobs_deleted(
    here: Deployment, finished: CheckpointFact, new_job: Callable[[], str]
) -> None:
    client, queued = here.client, new_job()
    (job_id,) = (one["id"] for one in client.get("/jobs?state=succeeded").json()["items"])
    client.put("/models/best", json={"job": job_id}).raise_for_status()
    with full(here.worker):
        assert [one["id"] for one in client.get("/jobs").json()["items"]] == [queued, job_id]
        assert client.get(f"/jobs/{queued}").json()["queue_position"] == 1
        assert client.get(f"/datasets/{here.dataset}").json()["state"] == "ready"
        assert client.get("/models/best").json()["digest"] == finished.digest
        assert client.get("/models").status_code == client.get("/models/best/history").status_code == 200
        refused(client.delete(f"/jobs/{job_id}"), 409, "job_in_use")
        client.delete("/models/best").raise_for_status()
        assert client.delete(f"/jobs/{job_id}").status_code == 204
        refused(client.get(f"/jobs/{job_id}"), 410, "record_deleted")
        assert client.post(f"/jobs/{queued}/cancel").json()["state"] == "cancelled"
        assert client.delete(f"/jobs/{queued}").status_code == 204
        assert client.delete(f"/datasets/{here.dataset}").status_code == 204


def test_jobs_that_ended_long_ago_are_deleted(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.retention.ROUND_SECONDS", 0.05)
    there = elsewhere(keep_jobs_days=1 / DAY)
    job_id = there.end(State.FAILED)
    with full(there.worker):
        until(lambda: there.client.get(f"/jobs/{job_id}").status_code == 410)


def test_what_takes_memory_is_refused_and_leaves_nothing(
    here: Deployment, finished: CheckpointFact, pictures: bytes
) -> None:
    client, root = here.client, here.worker.volume.root
    (job_id,) = (one["id"] for one in client.get("/jobs").json()["items"])
    client.put("/models/best", json={"digest": finished.digest}).raise_for_status()
    with full(here.worker):
        before = set(root.rglob("*"))
        for answer in (
            client.post("/jobs", json={"dataset": here.dataset}),
            client.post("/jobs?dry_run=true", json={"dataset": here.dataset}),
            client.post("/datasets", content=pictures),
            client.put("/models/best", json={"job": job_id, "follow": True}),
            client.put("/models/other", json={"job": job_id}),
        ):
            problem = refused(answer, 507, "store_full")
            assert "delete jobs" in problem["detail"]
            assert "retry-after" not in answer.headers
        assert set(root.rglob("*")) == before
        refused(client.get("/samples?model=best"), 503, "store_unavailable")  # deleting jobs would not help
        client.delete("/models/best").raise_for_status()
    refused(client.get("/models/best"), 404, "model_not_found")
    refused(client.get("/models/other"), 404, "model_not_found")


@pytest.mark.parametrize(("path", "module"), [("/jobs", submitting), ("/datasets", datasets)])
def test_what_finds_no_room_on_the_volume_leaves_nothing_there_either(
    elsewhere: Callable[..., Deployment],
    monkeypatch: pytest.MonkeyPatch,
    pictures: bytes,
    path: str,
    module: ModuleType,
) -> None:
    there = elsewhere()
    body: Any = {"/jobs": {"json": {"dataset": there.dataset}}, "/datasets": {"content": pictures}}
    volume = there.worker.volume

    def kept() -> set[Path]:
        # Unlike rglob, os.walk does not mind what is removed meanwhile.
        walks = (os.walk(place) for place in (volume.jobs, volume.datasets))
        return {Path(at, name) for walk in walks for at, below, files in walk for name in below + files}

    def write(path: Path, content: bytes, *, mode: int = 0o666) -> None:
        if path.name == "spec.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_durably(path, content, mode=mode)

    before = kept()
    monkeypatch.setattr(module, "write_durably", write)
    with full(there.worker):
        refused(there.client.post(path, **body[path]), 507, "volume_full")
        until(lambda: kept() == before)


def test_refused_move_of_an_alias_is_reverted_later_if_the_volume_does_not_take_that_now(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.settling.ROUND_SECONDS", 0.05)
    there, keep = elsewhere(), aliases._keep
    first, second = (there.end(State.SUCCEEDED) for _ in range(2))
    there.client.put("/models/live", json={"job": first}).raise_for_status()
    kept = there.worker.volume.alias("live")
    before = kept.read_bytes()

    def keep_then_fail(path: Path, record: AliasRecord | None) -> None:
        monkeypatch.setattr(aliases, "_keep", fail)
        keep(path, record)

    def fail(_path: Path, _record: AliasRecord | None) -> None:
        monkeypatch.setattr(aliases, "_keep", keep)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(aliases, "_keep", keep_then_fail)
    with full(there.worker):
        refused(there.client.put("/models/live", json={"job": second}), 507, "store_full")
    until(lambda: kept.read_bytes() == before)
    assert there.client.get("/models/live").json()["job"] == first
