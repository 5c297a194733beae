"""While records are rebuilt from the volume, nothing is reported as missing and nothing is deleted."""

import asyncio
import os
import shutil
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contract.job import CheckpointFact, State
from contract.keys import ALIASES, EPOCH, JOB_KEYS, KEYS, RecordKind
from service import deletion
from service.store import Standing, Store
from tests.service.deployment import Deployment
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.waiting import until

UNKNOWN = "job_0000000000000000"


def queue(there: Deployment) -> str:
    """Submit a job, and return its id."""
    return str(there.client.post("/jobs", json={"dataset": there.dataset}).json()["id"])


def test_missing_records_are_503_and_not_404_while_records_are_rebuilt(
    client: httpx.Client, worker: Worker, new_job: Callable[[], str]
) -> None:
    job_id = new_job()
    worker.redis.flushall()
    for path in (
        f"/jobs/{job_id}",
        "/jobs",
        "/datasets",
        "/models",
        "/samples?seed=1",
        "/samples?seed=1&model=best",
        f"/samples?seed=1&model={job_id}",
        "/samples?seed=1&model=sha256:" + "0" * 64,
    ):
        refused(client.get(path), 503, "store_unavailable")


def test_record_that_could_not_be_rebuilt_is_not_reported_as_missing(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere()
    client, worker, dataset = there.client, there.worker, there.dataset
    job_id = queue(there)
    spec = worker.volume.spec(job_id)
    text = spec.read_text()
    spec.write_text(text[:9])
    worker.redis.flushdb()
    assert worker.rebuilder.rebuild_if_lost()
    for answer in (client.get(f"/jobs/{job_id}"), client.delete(f"/jobs/{job_id}")):
        assert "cannot be read" in refused(answer, 503, "store_unavailable")["detail"]
    for answer in (
        client.delete(f"/datasets/{dataset}"),
        client.get("/samples?seed=1&model=sha256:" + "0" * 64),
    ):
        assert job_id in refused(answer, 503, "store_unavailable")["detail"]
    assert worker.volume.home(dataset).exists()
    spec.write_text(text)
    worker.rebuilder.restore_left_out()
    assert client.get(f"/jobs/{job_id}").json()["state"] == "queued"


def test_key_of_a_job_that_was_removed_by_hand_is_free_again_after_a_day(
    elsewhere: Callable[..., Deployment],
) -> None:
    """As advised if it cannot be rebuilt."""
    there = elsewhere()
    client, worker = there.client, there.worker
    asked, key = {"dataset": there.dataset}, {"Idempotency-Key": "k"}
    job_id = client.post("/jobs", json=asked, headers=key).json()["id"]
    worker.volume.spec(job_id).write_text("{")
    worker.redis.flushdb()
    assert worker.rebuilder.rebuild_if_lost()
    refused(client.post("/jobs", json=asked, headers=key), 503, "store_unavailable")
    shutil.rmtree(worker.volume.home(job_id))
    worker.rebuilder.restore_left_out()
    refused(client.post("/jobs", json=asked, headers=key), 404, "job_not_found")
    assert 0 < worker.redis.ttl(JOB_KEYS.request_of + "k") <= 86400


@pytest.mark.parametrize("state", ["", "&state=queued"])
def test_jobs_rebuilt_with_the_same_time_are_all_listed_once(
    elsewhere: Callable[..., Deployment], state: str
) -> None:
    there = elsewhere()
    client, worker = there.client, there.worker
    ids = sorted(queue(there) for _ in range(5))
    for job_id in ids:
        os.utime(worker.volume.spec(job_id), (1_800_000_000, 1_800_000_000))
    worker.redis.flushdb()
    assert worker.rebuilder.rebuild_if_lost()
    seen: list[str] = []
    address = f"/jobs?limit=2{state}"
    while address:
        page = client.get(address).json()
        seen += [job["id"] for job in page["items"]]
        client.post(f"/jobs/{seen[-1]}/cancel")
        address = page["next"]
    assert seen == ids[::-1]


def test_event_stream_survives_emptying_redis_and_shows_the_end_of_the_job(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere(heartbeat_seconds=0.1)
    client, worker = there.client, there.worker
    job_id = queue(there)
    spec = worker.volume.spec(job_id)
    text = spec.read_text()
    with client.stream("GET", f"/jobs/{job_id}/events", headers={"accept": "text/event-stream"}) as answer:
        lines = answer.iter_lines()
        spec.write_text(text[:9])
        worker.redis.flushdb()
        assert [next(line for line in lines if line == ": heartbeat") for _ in range(2)]
        assert worker.rebuilder.rebuild_if_lost()  # all but this job
        assert [next(line for line in lines if line == ": heartbeat") for _ in range(2)]
        spec.write_text(text)
        worker.rebuilder.restore_left_out()
        client.post(f"/jobs/{job_id}/cancel").raise_for_status()
        assert '"state":"cancelled"' in [line for line in lines if line.startswith("data")][-1]


def test_nothing_is_deleted_while_records_are_rebuilt(
    client: httpx.Client, worker: Worker, finished: CheckpointFact, new_job: Callable[[], str]
) -> None:
    client.put("/models/live", json={"digest": finished.digest}).raise_for_status()
    aliased = client.get("/models/live").json()["job"]
    dataset = client.get(f"/jobs/{new_job()}").json()["dataset"]
    worker.redis.delete(EPOCH, ALIASES, KEYS[RecordKind.DATASET].users_of + dataset)  # these are rebuilt last
    for address in (f"/jobs/{aliased}", f"/datasets/{dataset}"):
        refused(client.delete(address), 503, "store_unavailable")
        assert client.get(address).status_code == 200
        record_id = address.rpartition("/")[2]
        assert worker.volume.home(record_id).exists()
        assert not worker.volume.pending_tombstone(record_id).exists()


@pytest.mark.parametrize("has_tombstone", [False, True])
@pytest.mark.parametrize("used", ["dataset", "job"])
def test_nothing_is_deleted_if_redis_is_emptied_and_rebuilt_meanwhile(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch, used: str, *, has_tombstone: bool
) -> None:
    """Before there is a tombstone, what uses it may be left out; afterwards, it is left out itself."""
    there = elsewhere()
    client, worker, volume, bury = there.client, there.worker, there.worker.volume, deletion._bury
    job = there.end(State.SUCCEEDED)
    client.put("/models/live", json={"job": job}).raise_for_status()
    queued = queue(there)
    record_id, user = (
        (there.dataset, volume.spec(queued)) if used == "dataset" else (job, volume.alias("live"))
    )
    text = user.read_text()

    async def bury_around_a_rebuild(*given: Any) -> None:
        if has_tombstone:
            await bury(*given)
        else:
            user.write_text(text[:9])
        worker.redis.flushdb()
        assert await asyncio.to_thread(worker.rebuilder.rebuild_if_lost)
        if not has_tombstone:
            await bury(*given)

    monkeypatch.setattr(deletion, "_bury", bury_around_a_rebuild)
    refused(client.delete(f"/{used}s/{record_id}"), 503, "store_unavailable")
    assert volume.home(record_id).exists()
    assert not volume.pending_tombstone(record_id).exists()
    user.write_text(text)
    worker.rebuilder.restore_left_out()
    assert client.get(f"/{used}s/{record_id}").status_code == 200


def test_record_that_is_restored_as_it_is_looked_for_is_not_reported_as_missing(
    elsewhere: Callable[..., Deployment], monkeypatch: pytest.MonkeyPatch
) -> None:
    there, find = elsewhere(), Store.find
    job_id = there.end()

    async def find_then_rebuild(store: Store, kind: RecordKind, record_id: str) -> Standing | None:
        found = await find(store, kind, record_id)
        assert await asyncio.to_thread(there.worker.rebuilder.rebuild_if_lost)
        return found

    monkeypatch.setattr(Store, "find", find_then_rebuild)
    there.worker.redis.flushdb()
    refused(there.client.get(f"/jobs/{job_id}"), 503, "store_unavailable")
    assert there.client.get(f"/jobs/{job_id}").status_code == 200


def test_outdated_records_count_as_missing_and_change_nothing_on_the_volume(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere()
    client, volume = there.client, there.worker.volume
    job = there.end(State.SUCCEEDED)
    client.put("/models/live", json={"job": job}).raise_for_status()
    made_elsewhere = volume.alias("live").read_text().replace(job, UNKNOWN)
    client.delete("/models/live").raise_for_status()
    volume.alias("live").write_text(made_elsewhere)
    volume.epoch.write_text("begun on another server")
    until(lambda: "records" in there.missing())  # the gateway looks at it now and then
    for answer in (
        client.put("/models/live", json={"job": job}),
        client.get(f"/jobs/{UNKNOWN}"),
        client.get("/models/latest"),
        client.get("/samples"),
    ):
        refused(answer, 503, "store_unavailable")
    assert [missing["part"] for missing in client.get("/readyz").json()["missing"]] == ["records"]
    assert volume.alias("live").read_text() == made_elsewhere
    assert there.worker.rebuilder.rebuild_if_lost()
    assert UNKNOWN in str(there.worker.redis.hget(ALIASES, "live"))
