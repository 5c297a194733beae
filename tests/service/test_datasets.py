"""Datasets as clients see them: prepared by a worker, listed, deleted."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from contract.command import Command
from contract.job import Failure, Progress, State, Want
from contract.keys import KEYS, RecordKind
from contract.owning import Lease, beat, leave
from contract.volume import Volume
from service.store import Store
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.waiting import until

UNKNOWN = "ds_0000000000000000"


@pytest.fixture
def queued(client: httpx.Client, pictures: bytes) -> str:
    """The id of a dataset that no worker has begun to prepare."""
    return str(client.post("/datasets", content=pictures).json()["id"])


def test_dataset_is_preparing_while_a_worker_holds_its_lease(
    client: httpx.Client, worker: Worker, queued: str
) -> None:
    lease = worker.claim(RecordKind.DATASET)
    worker.run(beat(lease, Progress(done=3, total=12)))
    dataset = client.get(f"/datasets/{queued}").json()
    assert dataset["state"] == "preparing"
    assert dataset["progress"] == {"done": 3, "total": 12, "fraction": 0.25}
    assert dataset["images"] is None


def test_ready_dataset_reports_what_was_found(client: httpx.Client, dataset: str) -> None:
    found = client.get(f"/datasets/{dataset}").json()
    assert found["state"] == "ready"
    assert (found["images"], found["held_out_images"], found["channels"]) == (10, 1, 1)
    assert (found["median_width"], found["median_height"]) == (32, 36)
    assert found["rejected"] == [{"name": "broken.png", "reason": "truncated"}]
    assert found["finished_at"].endswith("Z")
    assert "hashes" not in found


def test_failed_dataset_says_why(client: httpx.Client, worker: Worker, queued: str) -> None:
    lease = worker.claim(RecordKind.DATASET)
    worker.run(leave(lease, State.FAILED, error=Failure(code="no_images", detail="All are broken.")))
    dataset = client.get(f"/datasets/{queued}").json()
    assert (dataset["state"], dataset["error"]["code"]) == ("failed", "no_images")


def test_pages_make_up_the_whole_list_newest_first(client: httpx.Client, pictures: bytes) -> None:
    ids = [client.post("/datasets", content=pictures).json()["id"] for _ in range(5)]
    seen, address = [], "/datasets?limit=2"
    while address:
        answer = client.get(address)
        seen += [item["id"] for item in answer.json()["items"]]
        address = answer.json()["next"]
        assert answer.links.get("next", {}).get("url") == address
    assert seen == ids[::-1]


def test_list_omits_the_rejected_files(client: httpx.Client, dataset: str) -> None:
    (listed,) = client.get("/datasets").json()["items"]
    assert (listed["rejected"], listed["rejected_images"]) == (None, 1)


@pytest.mark.parametrize("manifest", [None, b"", b'{"images": 1}'], ids=["missing", "empty", "damaged"])
def test_unreadable_manifest_affects_only_its_own_dataset(
    client: httpx.Client, volume: Volume, dataset: str, queued: str, manifest: bytes | None
) -> None:
    volume.manifest(dataset).unlink()
    if manifest is not None:
        volume.manifest(dataset).write_bytes(manifest)
    listed = client.get("/datasets").json()["items"]
    assert [(one["id"], one["state"]) for one in listed] == [(queued, "queued"), (dataset, "ready")]
    assert client.get(f"/datasets/{dataset}").json()["images"] is None
    problem = refused(client.post("/jobs", json={"dataset": dataset}), 409, "dataset_not_ready")
    assert "damaged" in problem["detail"]


def test_unreadable_dataset_of_another_version_is_named_in_the_refusal_and_omitted_from_lists(
    client: httpx.Client, worker: Worker, dataset: str, queued: str
) -> None:
    record = KEYS[RecordKind.DATASET].record_of + dataset
    worker.redis.hset(record, "spec", '{"of the next version": 1}')
    problem = refused(client.get(f"/datasets/{dataset}"), 503, "store_unavailable")
    assert dataset in problem["detail"] and "another version" in problem["detail"]
    assert [one["id"] for one in client.get("/datasets").json()["items"]] == [queued]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=-1", "cursor=5-x", "page=2"])
def test_invalid_paging_parameter_is_refused(client: httpx.Client, query: str) -> None:
    problem = refused(client.get(f"/datasets?{query}"), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == query.partition("=")[0]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("dataset_id", [UNKNOWN, "cats", "..%2f..%2fetc", "ds_0000000000000000%0a"])
def test_unknown_dataset_is_not_found(client: httpx.Client, method: str, dataset_id: str) -> None:
    answer = client.request(method, f"/datasets/{dataset_id}")
    assert refused(answer, 404, answer.json()["code"])["code"] in ("dataset_not_found", "not_found")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_deleted_dataset_is_gone(client: httpx.Client, volume: Volume, dataset: str, method: str) -> None:
    assert client.delete(f"/datasets/{dataset}").status_code == 204
    assert not volume.dataset(dataset).exists()
    assert client.get("/datasets").json()["items"] == []
    refused(client.request(method, f"/datasets/{dataset}"), 410, "record_deleted")


def test_a_queued_dataset_can_be_deleted(client: httpx.Client, worker: Worker, queued: str) -> None:
    assert client.delete(f"/datasets/{queued}").status_code == 204
    assert worker.redis.zcard(KEYS[RecordKind.DATASET].queued) == 0


def test_dataset_is_deleted_only_after_its_preparer_has_released_it(
    client: httpx.Client, worker: Worker, volume: Volume, queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.datasets._LET_GO_SECONDS", 60.0)
    lease = worker.claim(RecordKind.DATASET)
    with ThreadPoolExecutor(1) as pool:
        deletion = pool.submit(client.delete, f"/datasets/{queued}")
        until(lambda: worker.run(beat(lease)) is Want.CANCEL)
        assert not deletion.done()
        assert volume.original(queued).exists()
        worker.run(leave(lease, State.CANCELLED))
        assert deletion.result().status_code == 204
    assert not volume.dataset(queued).exists()


def test_preparer_that_claims_a_dataset_while_it_is_deleted_is_told_to_stop(
    client: httpx.Client, worker: Worker, volume: Volume, queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.datasets._LET_GO_SECONDS", 60.0)
    run, leases = Store.run, list[Lease]()

    async def claim_before(store: Store, command: Command[Any]) -> Any:
        if command.arguments[1] == "forget" and not leases:
            leases.append(worker.claim(RecordKind.DATASET))
        return await run(store, command)

    monkeypatch.setattr(Store, "run", claim_before)
    with ThreadPoolExecutor(1) as pool:
        deletion = pool.submit(client.delete, f"/datasets/{queued}")
        until(lambda: leases and worker.run(beat(leases[0])) is Want.CANCEL)
        worker.run(leave(leases[0], State.CANCELLED))
        assert deletion.result().status_code == 204
    assert not volume.dataset(queued).exists()


def test_dataset_is_not_deleted_while_its_preparer_does_not_release_it(
    client: httpx.Client, worker: Worker, volume: Volume, queued: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.routes.datasets._LET_GO_SECONDS", 0.0)
    worker.claim(RecordKind.DATASET)
    problem = refused(client.delete(f"/datasets/{queued}"), 409, "dataset_in_use")
    assert "told to stop" in problem["detail"]
    assert volume.original(queued).exists()
    assert not volume.pending_tombstone(queued).exists()


def test_dataset_that_an_unfinished_job_uses_cannot_be_deleted(
    client: httpx.Client, volume: Volume, dataset: str, new_job: Callable[[], str]
) -> None:
    job_id = new_job()
    problem = refused(client.delete(f"/datasets/{dataset}"), 409, "dataset_in_use")
    assert job_id in problem["detail"]
    assert not volume.pending_tombstone(dataset).exists()
    client.post(f"/jobs/{job_id}/cancel")
    assert client.delete(f"/datasets/{dataset}").status_code == 204


def test_a_dataset_whose_preparer_is_lost_is_stalled(
    client: httpx.Client, worker: Worker, queued: str
) -> None:
    worker.claim(RecordKind.DATASET, seconds=0.01)
    until(lambda: client.get(f"/datasets/{queued}").json()["stalled"])
    assert "worker-1" in client.get(f"/datasets/{queued}").json()["stalled_reason"]
