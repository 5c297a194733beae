"""Aliases: created, moved and deleted, and the automatic `latest`."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from contract.forgetting import forget_job
from contract.job import CheckpointFact, State
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING_FOR, Role
from contract.owning import leave
from contract.volume import Volume
from contract.warming import LIVES_SECONDS, PATIENCE_SECONDS
from contract.wire import Answer, Ask
from contract.workers import goodbye, hello
from service.store import Store
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.waiting import until


def test_latest_is_an_automatic_alias(client: httpx.Client, finished: CheckpointFact, job_id: str) -> None:
    (model,) = client.get("/models").json()["items"]
    assert model == client.get("/models/latest").json()
    assert (model["alias"], model["automatic"], model["job"]) == ("latest", True, job_id)
    assert model["digest"] == finished.digest


@pytest.mark.parametrize("by", ["latest", "job", "digest"])
def test_reference_without_an_etag_is_under_no_tag_but_is_there(
    client: httpx.Client, finished: CheckpointFact, job_id: str, by: str
) -> None:
    reference = {"job": job_id, "digest": finished.digest}.get(by, by)
    seen = client.get(f"/models/{reference}")
    assert "etag" not in seen.headers
    other = client.get(f"/models/{reference}", headers={"If-Match": '"1-0"'})
    problem = refused(other, 412, "precondition_failed")
    assert problem["current"] == seen.json()
    assert f"{reference} has no ETag" in problem["detail"]
    for condition in ({"If-Match": "*"}, {"If-None-Match": '"1-0"'}, {"If-None-Match": "W/"}):
        assert client.get(f"/models/{reference}", headers=condition).json() == seen.json()
    assert client.get(f"/models/{reference}", headers={"If-None-Match": "*"}).status_code == 304


def test_before_the_first_job_there_is_no_latest(client: httpx.Client) -> None:
    assert client.get("/models").json()["items"] == []
    refused(client.get("/models/latest"), 404, "no_model_yet")


def test_latest_is_the_previous_job_if_the_newest_is_being_deleted(
    client: httpx.Client,
    finished: CheckpointFact,
    new_job: Callable[[], str],
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    newest = new_job()
    lease = worker.claim()
    worker.checkpoint(lease)
    assert worker.run(leave(lease, State.SUCCEEDED))
    read = Store.newest_servable

    async def read_before_a_deletion(store: Store) -> str | None:
        job_id = await read(store)
        worker.run(forget_job(newest))
        return job_id

    monkeypatch.setattr(Store, "newest_servable", read_before_a_deletion)
    assert client.get("/models/latest").json()["digest"] == finished.digest


@pytest.mark.parametrize("by", ["job", "digest"])
def test_alias_can_be_pointed_at_a_job_or_a_digest(
    client: httpx.Client, volume: Volume, finished: CheckpointFact, job_id: str, by: str
) -> None:
    answer = client.put("/models/best", json={by: {"job": job_id, "digest": finished.digest}[by]})
    assert answer.json() == client.get("/models/best").json() == client.get("/models").json()["items"][1]
    kept = json.loads(volume.alias("best").read_text())
    assert (kept["job"], kept["digest"], kept["file"]) == (job_id, finished.digest, finished.file)


def test_a_moved_alias_serves_the_new_generator_at_once(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    new_job: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 60)
    client.put("/models/best", json={"digest": finished.digest})
    assert client.get("/samples?seed=1&model=best").headers["x-model-digest"] == finished.digest
    other = new_job()
    newer = worker.checkpoint(worker.claim())
    assert client.put("/models/best", json={"job": other}).status_code == 200
    assert sampler.asks[-1].spec.digest == newer.digest  # it was loaded before the alias moved
    assert client.get("/samples?seed=1&model=best").headers["x-model-digest"] == newer.digest


def test_every_active_sampler_loads_the_generator_before_the_alias_moves(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 60)
    monkeypatch.setattr("service.warming.LIVES_SECONDS", 60)
    works = {"role": Role.SAMPLE, "active": True, "renderer": "r1"}
    worker.run(hello("sample-2", works | {"name": "sample-2"}, 60))
    worker.run(hello("sample-3", works | {"name": "sample-3", "active": False}, 60))
    worker.run(hello("sample-0", works, 60))  # from a version without names
    with ThreadPoolExecutor(1) as thread:
        moving = thread.submit(client.put, "/models/best", json={"digest": finished.digest})
        taken = until(lambda: worker.redis.lpop(SAMPLES_WAITING_FOR + "sample-2"))
        ask = Ask.unpack(str(taken).encode())
        assert (ask.spec.digest, ask.place.file) == (finished.digest, finished.file)
        assert client.get("/models/best").status_code == 404  # not yet
        worker.redis.rpush(SAMPLES_REPLIES_OF + ask.gateway, Answer(ask.id, "r1", b"png").pack())
        assert moving.result().status_code == 201
    assert sampler.asks[-1].spec.digest == finished.digest
    assert not worker.redis.exists(SAMPLES_WAITING_FOR + "sample-3", SAMPLES_WAITING_FOR + "sample-0")


def test_alias_does_not_wait_for_a_sampler_that_is_gone(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 3600)
    monkeypatch.setattr("service.warming._ROLL_CALL_SECONDS", 0.05)
    second = {"role": Role.SAMPLE, "active": True, "renderer": "r1", "name": "sample-2"}
    worker.run(hello("sample-2", second, 60))
    with ThreadPoolExecutor(1) as thread:
        moving = thread.submit(client.put, "/models/best", json={"digest": finished.digest})
        until(lambda: worker.redis.exists(SAMPLES_WAITING_FOR + "sample-2"))
        worker.run(goodbye("sample-2"))
        assert moving.result().status_code == 201


def test_alias_waits_until_the_generator_is_loaded(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert PATIENCE_SECONDS >= 30  # loading a large generator takes some seconds
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 3600)
    monkeypatch.setattr("service.warming._ROLL_CALL_SECONDS", 0.0)
    sampler.hold()
    with ThreadPoolExecutor(1) as thread:
        moving = thread.submit(client.put, "/models/best", json={"digest": finished.digest})
        until(lambda: worker.redis.llen(SAMPLES_WAITING_FOR + "sample-1"))
        assert client.get("/models/best").status_code == 404
        sampler.held.clear()
        assert moving.result().status_code == 201
    assert sampler.asks


def test_hanging_redis_does_not_keep_an_alias_from_moving(
    client: httpx.Client, finished: CheckpointFact, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("service.warming.Warming._ask_each", hang)
    assert client.put("/models/best", json={"digest": finished.digest}).is_success


def test_request_to_load_a_generator_expires_if_the_sampler_dies(
    client: httpx.Client, worker: Worker, finished: CheckpointFact
) -> None:
    assert client.put("/models/best", json={"digest": finished.digest}).is_success
    until(lambda: 0 < worker.redis.ttl(SAMPLES_WAITING_FOR + "sample-1") <= LIVES_SECONDS)


def test_a_deleted_alias_is_not_found(client: httpx.Client, volume: Volume, job_id: str) -> None:
    client.put("/models/best", json={"job": job_id})
    assert client.delete("/models/best").status_code == 204
    assert not volume.alias("best").exists()
    refused(client.get("/models/best"), 404, "model_not_found")
    refused(client.delete("/models/best"), 404, "model_not_found")


def test_sampler_that_does_not_answer_does_not_keep_an_alias_from_moving(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    sampler.hold()
    assert client.put("/models/best", json={"digest": finished.digest}).is_success
    sampler.held.clear()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_latest_cannot_be_set_or_deleted(client: httpx.Client, job_id: str, method: str) -> None:
    answer = client.request(method, "/models/latest", json={"job": job_id} if method == "PUT" else None)
    refused(answer, 409, "alias_read_only")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"job": None},
        {"job": "cats"},
        {"digest": "sha256:1"},
        {"jbo": "job_0000000000000000"},
        {"job": "job_0000000000000000", "digest": "sha256:" + "0" * 64},
    ],
)
def test_a_wrong_target_is_refused(client: httpx.Client, volume: Volume, body: object) -> None:
    refused(client.put("/models/mine", json=body), 422, "invalid_request")
    assert not volume.alias("mine").exists()


@pytest.mark.parametrize(
    ("body", "given"),
    [({}, "neither was"), ({"job": "job_0000000000000000", "digest": "sha256:" + "0" * 64}, "both were")],
)
def test_refusal_of_two_targets_or_none_says_which(client: httpx.Client, body: object, given: str) -> None:
    problem = refused(client.put("/models/mine", json=body), 422, "invalid_request")
    assert f'give exactly one of "job" and "digest"; {given} given.' in problem["detail"]


@pytest.mark.parametrize("body", [{"job": "job_0000000000000000"}, {"digest": "sha256:" + "0" * 64}])
def test_an_unknown_target_is_refused(client: httpx.Client, volume: Volume, body: object) -> None:
    refused(client.put("/models/mine", json=body), 404, "model_not_found")
    assert not volume.alias("mine").exists()


@pytest.mark.parametrize("alias", ["Best", "1st", "a_b", "a" * 64, "ä"])
def test_invalid_alias_name_is_refused(client: httpx.Client, job_id: str, alias: str) -> None:
    problem = refused(client.put(f"/models/{alias}", json={"job": job_id}), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "alias"


def test_a_job_without_a_checkpoint_cannot_be_aliased(
    client: httpx.Client, new_job: Callable[[], str]
) -> None:
    refused(client.put("/models/mine", json={"job": new_job()}), 404, "no_model_yet")
