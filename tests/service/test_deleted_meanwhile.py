"""Requests whose generator is deleted after they were resolved: none fails for where a file used to be."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from contract.forgetting import forget_job
from contract.identifiers import IMPORTED
from contract.imports import Import, add_import
from contract.job import CheckpointFact, State
from contract.keys import SAMPLES_WAITING
from contract.owning import leave
from contract.sampling import CheckpointPlace
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.waiting import until


@pytest.fixture
def place(job_id: str, finished: CheckpointFact) -> CheckpointPlace:
    """Where the checkpoint of the finished job is."""
    return CheckpointPlace(job=job_id, file=finished.file)


@pytest.fixture
def deleted_elsewhere(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    place: CheckpointPlace,
    finished: CheckpointFact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another gateway has deleted the job, whose digest this one remembers for a minute."""
    monkeypatch.setattr("service.remembered.REMEMBERED_SECONDS", 60.0)
    assert client.get(f"/samples?seed=1&model={finished.digest}").status_code == 200
    assert worker.run(forget_job(place.job))[0] == "forgotten"
    sampler.gone.add(place)


@pytest.mark.usefixtures("deleted_elsewhere")
def test_generator_deleted_by_another_gateway_is_not_found(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    for _ in range(2):
        answer = client.get(f"/samples?seed=2&model={finished.digest}")
        refused(answer, 404, "model_not_found")
    assert len(sampler.asks) == 2
    refused(client.post("/samples", json={"seeds": [2], "model": finished.digest}), 404, "model_not_found")


@pytest.mark.usefixtures("deleted_elsewhere")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_generator_that_was_also_imported_is_used_from_there(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    place: CheckpointPlace,
    method: str,
) -> None:
    assert worker.run(add_import(finished.digest, Import(bytes=1, imported_ms=1)))

    def ask(seed: int) -> httpx.Response:
        if method == "GET":
            return client.get(f"/samples?seed={seed}&model={finished.digest}")
        return client.post("/samples", json={"seeds": [seed], "model": finished.digest})

    assert [ask(seed).status_code for seed in (2, 3)] == [200, 200]
    assert [one.place.job for one in sampler.asks] == [place.job, place.job, IMPORTED, IMPORTED]


def test_waiting_requests_for_a_deleted_job_are_told_that_it_is_gone(
    client: httpx.Client, sampler: Sampler, worker: Worker, place: CheckpointPlace, finished: CheckpointFact
) -> None:
    models = (place.job, finished.digest, "latest")
    sampler.hold()
    with ThreadPoolExecutor(3) as threads:
        waiting = [
            threads.submit(client.get, f"/samples?seed={seed}&model={model}")
            for seed, model in enumerate(models)
        ]
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == 3)
        assert client.delete(f"/jobs/{place.job}").status_code == 204
        sampler.gone.add(place)
        sampler.held.clear()
    job, digest, latest = (one.result() for one in waiting)
    refused(job, 410, "record_deleted")
    refused(digest, 404, "model_not_found")
    refused(latest, 404, "no_model_yet")


def test_waiting_request_for_an_alias_that_has_left_a_deleted_job_gets_what_it_points_to(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    place: CheckpointPlace,
    finished: CheckpointFact,
    new_job: Callable[[], str],
) -> None:
    client.put("/models/live", json={"digest": finished.digest}).raise_for_status()
    new_job()
    lease = worker.claim()
    newer = worker.checkpoint(lease)
    assert worker.run(leave(lease, State.SUCCEEDED))
    sampler.hold()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.get, "/samples?seed=1&model=live")
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == 1)
        client.put("/models/live", json={"digest": newer.digest}).raise_for_status()
        assert client.delete(f"/jobs/{place.job}").status_code == 204
        sampler.gone.add(place)
        sampler.held.clear()
    answer = waiting.result()
    assert (answer.status_code, answer.headers["x-model-digest"]) == (200, newer.digest)
    assert answer.content == f"{newer.digest}/1+1.png".encode()
