"""Submission of jobs: idempotent by key, with priority and submitter, and retries of failed jobs."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from contract.job import Failure, State
from contract.keys import EPOCH, KEYS, RecordKind
from contract.owning import leave
from contract.submission import Submission
from contract.volume import Volume
from tests.conftest import proof
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.receiver import Receiver
from tests.service.waiting import until

NewJob = Callable[[], str]
RACES = proof(20, 1000)


def _post(client: httpx.Client, key: str, **request: object) -> httpx.Response:
    return client.post("/jobs", json=request, headers={"Idempotency-Key": key})


def test_repeated_request_returns_the_same_job(client: httpx.Client, dataset: str, volume: Volume) -> None:
    first = _post(client, "key 1", dataset=dataset, images=640)
    homes = set(volume.jobs.glob("*"))
    again = _post(client, "key 1", images=640, dataset=dataset)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert set(volume.jobs.glob("*")) == homes
    assert volume.queued(first.json()["id"]).exists()
    assert len(client.get("/jobs").json()["items"]) == 1


def test_same_key_for_a_different_request_is_refused(client: httpx.Client, dataset: str) -> None:
    made = _post(client, "key-1", dataset=dataset).json()["id"]
    problem = refused(_post(client, "key-1", dataset=dataset, seed=1), 422, "idempotency_key_reused")
    assert made in problem["detail"]
    assert problem["errors"][0]["pointer"] == "Idempotency-Key"


def test_different_key_creates_a_different_job(client: httpx.Client, dataset: str) -> None:
    assert (
        _post(client, "a", dataset=dataset).json()["id"] != _post(client, "b", dataset=dataset).json()["id"]
    )


def test_refused_request_does_not_use_up_its_key(client: httpx.Client, dataset: str) -> None:
    refused(_post(client, "key-1", dataset="ds_0000000000000000"), 404, "dataset_not_found")
    assert _post(client, "key-1", dataset=dataset).status_code == 202


@pytest.mark.parametrize("key", [b"", b"k" * 256, "schlüssel".encode()])
def test_invalid_key_is_refused(client: httpx.Client, dataset: str, key: bytes) -> None:
    answer = client.post("/jobs", json={"dataset": dataset}, headers=[(b"Idempotency-Key", key)])
    problem = refused(answer, 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "Idempotency-Key"


@pytest.mark.parametrize("how", ["job", "dry run", "retry"])
def test_two_keys_are_refused_and_neither_is_used_up(client: httpx.Client, new_job: NewJob, how: str) -> None:
    job_id = new_job()
    client.post(f"/jobs/{job_id}/cancel")
    body = None if how == "retry" else {"dataset": client.get(f"/jobs/{job_id}").json()["dataset"]}
    address = {"job": "/jobs", "dry run": "/jobs?dry_run=true", "retry": f"/jobs/{job_id}/retry"}[how]
    keys = [("Idempotency-Key", "k1"), ("idempotency-key", "k2")]
    problem = refused(client.post(address, json=body, headers=keys), 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["Idempotency-Key"]
    assert "is given 2 times" in problem["detail"]
    assert [client.post(f"/jobs/{job_id}/retry", headers=[key]).status_code for key in keys] == [202, 202]


def test_key_of_a_deleted_job_creates_no_second_job(client: httpx.Client, dataset: str) -> None:
    job_id = _post(client, "key-1", dataset=dataset).json()["id"]
    client.post(f"/jobs/{job_id}/cancel")
    client.delete(f"/jobs/{job_id}")
    refused(_post(client, "key-1", dataset=dataset), 410, "record_deleted")


def test_key_is_not_taken_as_new_while_redis_is_empty(
    client: httpx.Client, dataset: str, worker: Worker, volume: Volume
) -> None:
    before = set(volume.jobs.glob("*"))
    worker.redis.delete(EPOCH)
    refused(_post(client, "key-1", dataset=dataset), 503, "store_unavailable")
    until(lambda: set(volume.jobs.glob("*")) == before)


def test_racing_requests_with_one_key_create_one_job(
    client: httpx.Client, dataset: str, volume: Volume
) -> None:
    before = len(set(volume.jobs.glob("*")))
    with ThreadPoolExecutor(2) as threads:
        for race in range(RACES):
            pair = [threads.submit(_post, client, f"race-{race}", dataset=dataset) for _ in range(2)]
            answers = [one.result() for one in pair]
            assert sorted(answer.status_code for answer in answers) == [200, 202]
            assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(set(volume.jobs.glob("*"))) - before == RACES


def test_priority_and_submitter_are_shown_and_kept_on_the_volume(
    client: httpx.Client, dataset: str, volume: Volume
) -> None:
    plain = client.post("/jobs", json={"dataset": dataset}).json()
    urgent = client.post("/jobs", json={"dataset": dataset, "priority": "high", "submitter": "ann"}).json()
    assert (plain["priority"], plain["submitter"]) == ("normal", "anyone")
    assert (urgent["priority"], urgent["submitter"], urgent["queue_position"]) == ("high", "ann", 1)
    assert client.get(f"/jobs/{plain['id']}").json()["queue_position"] == 2
    assert "priority" not in urgent["spec"]
    kept = Submission.model_validate_json(volume.submission(urgent["id"]).read_bytes())
    assert (kept.submitter, kept.priority) == ("ann", "high")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"priority": "urgent"}, "/priority"),
        ({"submitter": ""}, "/submitter"),
        ({"submitter": "x" * 101}, "/submitter"),
    ],
)
def test_invalid_priority_or_submitter_is_refused(
    client: httpx.Client, dataset: str, change: dict[str, str], pointer: str
) -> None:
    problem = refused(client.post("/jobs", json={"dataset": dataset, **change}), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == pointer


@pytest.fixture
def failed(client: httpx.Client, dataset: str, worker: Worker) -> str:
    """The id of ann's failed job."""
    request = {"dataset": dataset, "images": 640, "seed": 3, "submitter": "ann", "priority": "low"}
    job_id: str = client.post("/jobs", json=request).json()["id"]
    worker.run(leave(worker.claim(), State.FAILED, error=Failure(code="died_repeatedly", detail="Thrice.")))
    return job_id


def test_retry_of_a_failed_job_is_a_new_job(client: httpx.Client, failed: str) -> None:
    answer = client.post(f"/jobs/{failed}/retry")
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    old = client.get(f"/jobs/{failed}").json()
    assert (old["state"], job["state"], job["retry_of"]) == ("failed", "queued", failed)
    assert job["spec"] == old["spec"]
    assert (job["submitter"], job["priority"]) == ("ann", "low")


def test_retry_sent_twice_with_one_key_creates_one_job(client: httpx.Client, failed: str) -> None:
    headers = {"Idempotency-Key": "again"}
    first, again = (client.post(f"/jobs/{failed}/retry", headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 200)
    assert first.json() == again.json()


def test_queued_or_succeeded_job_cannot_be_retried(
    client: httpx.Client, new_job: NewJob, worker: Worker
) -> None:
    job_id = new_job()
    assert "queued" in refused(client.post(f"/jobs/{job_id}/retry"), 409, "job_state_conflict")["detail"]
    worker.run(leave(worker.claim(), State.SUCCEEDED))
    assert "succeeded" in refused(client.post(f"/jobs/{job_id}/retry"), 409, "job_state_conflict")["detail"]


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"images": 10**6, "checkpoint_every_images": 1}, "set it to 1000 or more."),
        (
            {"images": 64, "objective": {"kind": "wgan_gp", "critic_steps": 5, "gradient_penalty": 10.0}},
            "set images to 129 or more, which is rounded up to whole batches.",
        ),
    ],
)
def test_old_job_beyond_a_limit_is_shown_but_cannot_be_retried(
    client: httpx.Client, worker: Worker, failed: str, settings: dict[str, object], advice: str
) -> None:
    spec = client.get(f"/jobs/{failed}").json()["spec"] | settings
    worker.redis.hset(KEYS[RecordKind.JOB].record_of + failed, "spec", json.dumps(spec))
    assert client.get(f"/jobs/{failed}").json()["spec"] == spec
    problem = refused(client.post(f"/jobs/{failed}/retry"), 422, "invalid_request")
    assert f"{advice} Submit the corrected spec with POST /jobs." in problem["detail"]
    assert problem["errors"] == []  # the retry has no body to point into


def test_retry_of_a_job_of_another_version_is_refused_like_reading_it(
    client: httpx.Client, worker: Worker, failed: str
) -> None:
    worker.redis.hset(KEYS[RecordKind.JOB].record_of + failed, "spec", '{"of the next version": 1}')
    read = refused(client.get(f"/jobs/{failed}"), 503, "store_unavailable")
    assert refused(client.post(f"/jobs/{failed}/retry"), 503, "store_unavailable")["detail"] == read["detail"]
    assert client.get("/jobs").json()["items"] == []


@pytest.mark.parametrize("damage", ["torn", "unopenable", "gone"])
def test_retry_without_the_webhook_that_it_would_inherit_is_refused(
    client: httpx.Client, dataset: str, volume: Volume, receiver: Receiver, damage: str
) -> None:
    job_id = client.post("/jobs", json={"dataset": dataset, "webhook": receiver.webhook}).json()["id"]
    client.post(f"/jobs/{job_id}/cancel").raise_for_status()
    path = volume.submission(job_id)
    text = path.read_bytes()
    path.unlink()
    if damage == "torn":
        path.write_bytes(text[:9])
    elif damage == "unopenable":
        path.mkdir()
    problem = refused(client.post(f"/jobs/{job_id}/retry"), 409, "job_state_conflict")
    assert f"submission.json of {job_id}" in problem["detail"]
    assert client.get("/jobs?state=queued").json()["items"] == []


def test_retry_that_would_inherit_no_webhook_needs_no_submission(
    client: httpx.Client, volume: Volume, failed: str
) -> None:
    volume.submission(failed).write_bytes(b"{")
    assert client.post(f"/jobs/{failed}/retry").status_code == 202


def test_a_retry_needs_the_dataset(client: httpx.Client, failed: str) -> None:
    dataset = client.get(f"/jobs/{failed}").json()["dataset"]
    assert client.delete(f"/datasets/{dataset}").status_code == 204
    refused(client.post(f"/jobs/{failed}/retry"), 410, "record_deleted")
    assert json.loads(client.get("/jobs?state=queued").text)["items"] == []
