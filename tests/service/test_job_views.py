"""What a job shows: its progress, queue position and results, and why it failed or stalled."""

from collections.abc import Callable
from datetime import datetime

import httpx

from contract.evaluation import MetricsBasis
from contract.job import CheckpointFact, Failure, Progress, State
from contract.owning import Lease, beat, leave, report
from contract.volume import Volume
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.waiting import until

NewJob = Callable[[], str]


def test_running_job_shows_its_progress(client: httpx.Client, worker: Worker, running: Lease) -> None:
    progress = Progress(
        done=256, total=1024, images_per_second=64, seconds_left=14.5, losses={"generator": 0.7}
    )
    worker.run(beat(running, progress))
    fact = worker.checkpoint(running)
    job = client.get(f"/jobs/{running.id}").json()
    assert job["state"] == "running"
    assert job["progress"] == {
        "images_seen": 256,
        "total": 1024,
        "fraction": 0.25,
        "images_per_second": 64,
        "seconds_left": 14.5,
        "losses": {"generator": 0.7},
    }
    remaining = datetime.fromisoformat(job["estimated_finish"]) - datetime.fromisoformat(job["started_at"])
    assert 14 <= remaining.total_seconds() <= 75
    assert job["checkpoint"]["digest"] == job["checkpoints"][0]["digest"] == fact.digest
    assert job["queue_position"] is None
    worker.run(leave(running, State.QUEUED))
    job = client.get(f"/jobs/{running.id}").json()
    assert (job["progress"]["seconds_left"], job["estimated_finish"]) == (None, None)
    assert job["progress"]["images_per_second"] == 64


def test_the_queue_position_counts_from_one(client: httpx.Client, new_job: NewJob) -> None:
    ids = [new_job() for _ in range(3)]
    assert [client.get(f"/jobs/{job_id}").json()["queue_position"] for job_id in ids] == [1, 2, 3]


def test_a_job_whose_worker_is_lost_is_stalled(client: httpx.Client, new_job: NewJob, worker: Worker) -> None:
    job_id = new_job()
    worker.run(beat(worker.claim(seconds=0.2), Progress(done=1, total=4, seconds_left=9)))
    until(lambda: client.get(f"/jobs/{job_id}").json()["stalled"])
    job = client.get(f"/jobs/{job_id}").json()
    assert job["state"] == "running"
    assert "worker-1" in job["stalled_reason"]
    assert (job["progress"]["seconds_left"], job["estimated_finish"]) == (None, None)


def test_failed_job_says_why(client: httpx.Client, worker: Worker, running: Lease) -> None:
    worker.run(leave(running, State.FAILED, error=Failure(code="out_of_memory", detail="Too wide.")))
    job = client.get(f"/jobs/{running.id}").json()
    assert (job["state"], job["error"]["code"]) == ("failed", "out_of_memory")


def test_checkpoints_are_listed_newest_first_with_pinned_samples(
    client: httpx.Client, worker: Worker, running: Lease
) -> None:
    facts = [worker.checkpoint(running, seen) for seen in (100, 200)]
    listed = client.get(f"/jobs/{running.id}/checkpoints").json()
    assert [one["digest"] for one in listed] == [facts[1].digest, facts[0].digest]
    assert f"model={facts[1].digest}" in listed[0]["links"]["samples"]


def test_metrics_of_a_checkpoint_are_listed_with_their_basis(
    client: httpx.Client, worker: Worker, running: Lease
) -> None:
    worker.checkpoint(running, 100)
    basis = MetricsBasis(
        samples=964, reals=241, split="held_out", features="embedded-1", floor={"fd": 1.3}, floor_samples=964
    )
    fact = CheckpointFact(
        file="200", digest="sha256:" + "2" * 64, images_seen=200, bytes=9, metrics={"fd": 1.7}, basis=basis
    )
    assert worker.run(report(running, 200, checkpoint=fact))
    judged, unjudged = client.get(f"/jobs/{running.id}/checkpoints").json()
    assert (judged["metrics"], judged["basis"]) == ({"fd": 1.7}, basis.model_dump())
    assert (unjudged["metrics"], unjudged["basis"]) == ({}, None)


def test_previews_are_listed_and_fetched(client: httpx.Client, volume: Volume, running: Lease) -> None:
    assert client.get(f"/jobs/{running.id}/previews").json() == []
    for seen in (100, 2000):
        path = volume.preview(running.id, seen)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"png %d" % seen)
    listed = client.get(f"/jobs/{running.id}/previews").json()
    assert [one["images_seen"] for one in listed] == [2000, 100]
    answer = client.get(listed[1]["url"])
    assert (answer.content, answer.headers["content-type"]) == (b"png 100", "image/png")
    assert "immutable" in answer.headers["cache-control"]


def test_an_unknown_preview_is_not_found(client: httpx.Client, running: Lease) -> None:
    refused(client.get(f"/jobs/{running.id}/previews/5.png"), 404, "preview_not_found")
    for name in ("x", "-1", "9" * 5000):
        refused(client.get(f"/jobs/{running.id}/previews/{name}.png"), 422, "invalid_request")
