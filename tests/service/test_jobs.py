"""Jobs as clients see them: what is accepted, what is refused, and how they are steered."""

import json
import math
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contract.command import Command
from contract.control import control
from contract.job import CheckpointFact, Failure, State, Want
from contract.keys import CELERY_PREFIX, KEYS, TASK_OF_ROLE, RecordKind, Role
from contract.owning import Lease, beat, leave
from contract.training import TrainingSpec
from contract.volume import Volume
from service.limits import MAX_JSON_BYTES
from service.store import Store
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.waiting import until

NewJob = Callable[[], str]
UNKNOWN = "job_0000000000000000"
WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"resolutoin": 64}, "/resolutoin"),
    ({"resolution": 48}, "/resolution"),
    ({"resolution": -1}, "/resolution"),
    ({"channels": 2}, "/channels"),
    ({"images": 0}, "/images"),
    ({"images": 1.5}, "/images"),
    ({"batch_size": 1}, "/batch_size"),
    ({"batch_size": 10**9}, "/batch_size"),
    ({"generator_learning_rate": 0}, "/generator_learning_rate"),
    ({"generator_learning_rate": "fast"}, "/generator_learning_rate"),
    ({"beta1": 1}, "/beta1"),
    ({"seed": -1}, "/seed"),
    ({"seed": 2**53}, "/seed"),
    ({"preset": "best"}, "/preset"),
    ({"name": "n" * 201}, "/name"),
    ({"architecture": "vae"}, "/architecture/kind"),
    ({"architecture": {"kind": "dcgan", "generator_width": 0}}, "/architecture/generator_width"),
    ({"architecture": {"depth": 3}}, "/architecture/depth"),
    ({"objective": {"kind": "wgan_gp", "critic_steps": 0}}, "/objective/critic_steps"),
    ({"objective": {"critic_steps": 1}}, "/objective/kind"),
    ({"terms": ["mmd", {"kind": "r1", "gamma": -1}]}, "/terms/1/gamma"),
    ({"dataset": "cats"}, "/dataset"),
    ({"dataset": None}, "/dataset"),
]
NO_OBJECTS = [b"{", b"[]", b"null", b"5", b"\xff\xfe", b"[" * 50_000, b'{"dataset": NaN}', b""]


def test_job_needs_only_a_dataset(client: httpx.Client, dataset: str, volume: Volume) -> None:
    answer = client.post("/jobs", json={"dataset": dataset})
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == job["links"]["self"] == f"/jobs/{job['id']}"
    assert (job["state"], job["queue_position"], job["attempt"]) == ("queued", 1, 0)
    assert (job["spec"]["resolution"], job["spec"]["channels"]) == (32, 1)
    spec = TrainingSpec.model_validate_json(volume.spec(job["id"]).read_text())
    assert spec.model_dump(mode="json") == job["spec"]
    assert job["progress"]["total"] == math.ceil(spec.images / spec.batch_size) * spec.batch_size


def test_submission_wakes_the_trainers(client: httpx.Client, worker: Worker, new_job: NewJob) -> None:
    new_job()
    rung = until(lambda: worker.redis.lpop(CELERY_PREFIX + "train"))
    assert json.loads(str(rung))["headers"]["task"] == TASK_OF_ROLE[Role.TRAIN]


def test_messages_to_trainers_do_not_pile_up_while_all_are_busy(
    client: httpx.Client, worker: Worker, new_job: NewJob, pictures: bytes
) -> None:
    job_id, train, prepare = new_job(), CELERY_PREFIX + "train", CELERY_PREFIX + "prepare"
    until(lambda: worker.redis.llen(train))
    worker.redis.delete(prepare)
    for _ in range(20):
        assert client.post(f"/jobs/{job_id}/resume").status_code == 202
    client.post("/datasets", content=pictures)
    until(lambda: worker.redis.llen(prepare))  # it was rung last
    assert worker.redis.llen(train) == 1
    worker.redis.delete(train)
    client.post(f"/jobs/{job_id}/resume")
    until(lambda: worker.redis.llen(train))


@pytest.mark.parametrize(("change", "pointer"), WRONG_FIELDS)
def test_refusal_of_a_wrong_field_points_to_it(
    client: httpx.Client, volume: Volume, dataset: str, change: dict[str, object], pointer: str
) -> None:
    before = set(volume.jobs.glob("*"))
    answer = client.post("/jobs", json={"dataset": dataset, **change})
    problem = refused(answer, 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == pointer
    assert pointer.rpartition("/")[2] in problem["detail"] or pointer == "/resolution"
    assert set(volume.jobs.glob("*")) == before
    assert client.get("/jobs").json()["items"] == []


def test_every_wrong_field_is_named(client: httpx.Client, dataset: str) -> None:
    answer = client.post("/jobs", json={"dataset": dataset, "images": -5, "beta1": 2})
    problem = refused(answer, 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["/images", "/beta1"]
    assert problem["detail"] == "images is -5 but should be greater than or equal to 1. (1 more in errors.)"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"augmentation": "none"}, "augmentation is 'none' but should be an object."),
        ({"terms": "mmd"}, "terms is 'mmd' but should be a list."),
        ({"images": None}, "images is null but should be a whole number."),
        ({"images": 1.5}, "images is 1.5 but should be a whole number."),
        ({"beta1": "x"}, "beta1 is 'x' but should be a number."),
        ({"mirror": 7}, "mirror is 7 but should be true or false."),
        ({"name": True}, "name is true but should be text."),
        ({"webhook": 5}, "webhook: should be an object."),
    ],
)
def test_refusal_of_another_kind_of_value_is_in_words_of_json(
    client: httpx.Client, dataset: str, change: dict[str, object], told: str
) -> None:
    problem = refused(client.post("/jobs", json={"dataset": dataset, **change}), 422, "invalid_request")
    assert problem["detail"] == told


@pytest.mark.parametrize("body", NO_OBJECTS)
def test_a_body_that_is_no_object_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/jobs", content=body, headers={"content-type": "application/json"})
    refused(answer, 422, "invalid_request")


def test_a_body_of_another_type_is_refused(client: httpx.Client, dataset: str) -> None:
    answer = client.post("/jobs", content=json.dumps({"dataset": dataset}).encode())
    refused(answer, 415, "unsupported_media_type")
    refused(client.post("/jobs", data={"dataset": dataset}), 415, "unsupported_media_type")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_huge_body_is_refused(client: httpx.Client, *, chunked: bool) -> None:
    body = b" " * (MAX_JSON_BYTES + 1)
    content = (body[at : at + 2**16] for at in range(0, len(body), 2**16)) if chunked else body
    answer = client.post("/jobs", content=content, headers={"content-type": "application/json"})
    refused(answer, 413, "body_too_large")


def test_an_unknown_dataset_is_refused(client: httpx.Client, volume: Volume) -> None:
    before = set(volume.jobs.glob("*"))
    answer = client.post("/jobs", json={"dataset": "ds_0000000000000000"})
    assert refused(answer, 404, "dataset_not_found")["errors"][0]["pointer"] == "/dataset"
    assert set(volume.jobs.glob("*")) == before


def test_a_deleted_dataset_is_refused(client: httpx.Client, dataset: str) -> None:
    client.delete(f"/datasets/{dataset}")
    refused(client.post("/jobs", json={"dataset": dataset}), 410, "record_deleted")


def test_a_dataset_that_is_not_ready_is_refused(
    client: httpx.Client, worker: Worker, pictures: bytes
) -> None:
    dataset = client.post("/datasets", content=pictures).json()["id"]
    answer = client.post("/jobs", json={"dataset": dataset})
    problem = refused(answer, 409, "dataset_not_ready")
    assert "queued" in problem["detail"]
    assert problem["retryable"] and answer.headers["retry-after"] == "2"
    lease = worker.claim(RecordKind.DATASET)
    worker.run(leave(lease, State.FAILED, error=Failure(code="no_images", detail="none")))
    problem = refused(client.post("/jobs", json={"dataset": dataset}), 409, "dataset_not_ready")
    assert "failed" in problem["detail"]
    assert not problem["retryable"]


def test_a_queued_job_is_cancelled_at_once(client: httpx.Client, volume: Volume, new_job: NewJob) -> None:
    job_id = new_job()
    answer = client.post(f"/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    assert json.loads(volume.intent(job_id).read_text())["want"] == "cancel"


def test_running_job_is_cancelling_until_its_owner_has_stopped(
    client: httpx.Client, worker: Worker, running: Lease
) -> None:
    assert client.post(f"/jobs/{running.id}/cancel").json()["state"] == "cancelling"
    assert worker.run(beat(running)) is Want.CANCEL
    worker.run(leave(running, State.CANCELLED))
    assert client.get(f"/jobs/{running.id}").json()["state"] == "cancelled"


def test_a_job_is_paused_and_resumed(client: httpx.Client, worker: Worker, running: Lease) -> None:
    assert client.post(f"/jobs/{running.id}/pause").json()["state"] == "pausing"
    assert worker.run(beat(running)) is Want.PAUSE
    worker.run(leave(running, State.QUEUED))
    assert client.get(f"/jobs/{running.id}").json()["state"] == "paused"
    assert client.post(f"/jobs/{running.id}/resume").json()["state"] == "queued"


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_actions_are_idempotent(client: httpx.Client, new_job: NewJob, action: str) -> None:
    job_id = new_job()
    first = client.post(f"/jobs/{job_id}/{action}").json()
    assert client.post(f"/jobs/{job_id}/{action}").json() == first


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_ended_job_cannot_be_steered(
    client: httpx.Client, volume: Volume, worker: Worker, running: Lease, action: str
) -> None:
    worker.run(leave(running, State.SUCCEEDED))
    problem = refused(client.post(f"/jobs/{running.id}/{action}"), 409, "job_state_conflict")
    assert "succeeded" in problem["detail"]
    assert not volume.intent(running.id).exists()


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_refused_action_keeps_the_previous_intent(
    client: httpx.Client, volume: Volume, running: Lease, action: str
) -> None:
    client.post(f"/jobs/{running.id}/cancel")
    problem = refused(client.post(f"/jobs/{running.id}/{action}"), 409, "job_state_conflict")
    assert "cancelling" in problem["detail"]
    assert json.loads(volume.intent(running.id).read_text())["want"] == "cancel"


@pytest.mark.parametrize("heard_first", ["pause", "cancel"])
def test_volume_follows_redis_when_two_gateways_steer_a_job(
    client: httpx.Client,
    worker: Worker,
    volume: Volume,
    new_job: NewJob,
    monkeypatch: pytest.MonkeyPatch,
    heard_first: str,
) -> None:
    job_id, run = new_job(), Store.run

    def cancel_elsewhere() -> None:
        if heard_first == "cancel":  # else our intent has already overwritten it there
            volume.intent(job_id).write_text('{"want": "cancel"}')
        worker.run(control(RecordKind.JOB, job_id, Want.CANCEL))

    async def between(store: Store, command: Command[Any]) -> Any:
        if command.arguments[1] != "control":
            return await run(store, command)
        if heard_first == "cancel":
            cancel_elsewhere()
            return await run(store, command)
        answer = await run(store, command)
        cancel_elsewhere()
        return answer

    monkeypatch.setattr(Store, "run", between)
    answer = client.post(f"/jobs/{job_id}/pause")
    assert answer.status_code == (202 if heard_first == "pause" else 409)
    assert client.get(f"/jobs/{job_id}").json()["state"] == "cancelled"
    assert json.loads(volume.intent(job_id).read_text())["want"] == "cancel"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/events"),
        ("GET", "/previews"),
        ("GET", "/previews/0.png"),
        ("GET", "/checkpoints"),
    ],
)
def test_an_unknown_job_is_not_found_and_a_deleted_one_gone(
    client: httpx.Client, new_job: NewJob, volume: Volume, method: str, path: str
) -> None:
    for unknown in (UNKNOWN, "cats"):
        refused(client.request(method, f"/jobs/{unknown}{path}"), 404, "job_not_found")
    job_id = new_job()
    client.post(f"/jobs/{job_id}/cancel")
    assert client.delete(f"/jobs/{job_id}").status_code == 204
    refused(client.request(method, f"/jobs/{job_id}{path}"), 410, "record_deleted")
    assert not volume.job(job_id).exists()


def test_a_live_job_cannot_be_deleted(client: httpx.Client, new_job: NewJob) -> None:
    job_id = new_job()
    problem = refused(client.delete(f"/jobs/{job_id}"), 409, "job_state_conflict")
    assert f"/jobs/{job_id}/cancel" in problem["detail"]


def test_a_job_that_an_alias_names_cannot_be_deleted(
    client: httpx.Client, volume: Volume, finished: CheckpointFact
) -> None:
    job_id = client.get("/jobs").json()["items"][0]["id"]
    assert client.put("/models/best", json={"job": job_id}).is_success
    problem = refused(client.delete(f"/jobs/{job_id}"), 409, "job_in_use")
    assert "best" in problem["detail"]
    assert not volume.pending_tombstone(job_id).exists()
    assert client.delete("/models/best").status_code == 204
    assert client.delete(f"/jobs/{job_id}").status_code == 204


def test_jobs_are_listed_by_state_newest_first(client: httpx.Client, new_job: NewJob) -> None:
    ids = [new_job() for _ in range(4)]
    client.post(f"/jobs/{ids[1]}/cancel")
    page = client.get("/jobs?state=queued&limit=2").json()
    assert [job["id"] for job in page["items"]] == [ids[3], ids[2]]
    assert page["next"].partition("&cursor=")[2].isdigit()  # older gateways know no other
    assert [job["id"] for job in client.get(page["next"]).json()["items"]] == [ids[0]]
    assert [job["id"] for job in client.get("/jobs?state=cancelled").json()["items"]] == [ids[1]]


@pytest.mark.parametrize("field", ["spec", "evaluation"])
def test_unreadable_job_of_another_version_is_omitted_from_lists(
    client: httpx.Client, worker: Worker, new_job: NewJob, field: str
) -> None:
    ids = [new_job() for _ in range(5)]
    for job_id in (ids[1], ids[3]):
        worker.redis.hset(KEYS[RecordKind.JOB].record_of + job_id, field, '{"of the next version": 1}')
    seen, address = [], "/jobs?limit=2"
    while address:
        page = client.get(address).json()
        seen += [job["id"] for job in page["items"]]
        address = page["next"]
    assert seen == [ids[4], ids[2], ids[0]]


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("spec", "/jobs/{}"),
        ("evaluation", "/jobs/{}"),
        ("evaluation", "/samples?seed=1&model={}"),
        ("evaluation", "/samples?seed=1"),
    ],
)
def test_unreadable_job_of_another_version_is_named_in_the_refusal(
    client: httpx.Client, worker: Worker, finished: CheckpointFact, field: str, address: str
) -> None:
    job_id = client.get("/jobs").json()["items"][0]["id"]
    worker.redis.hset(KEYS[RecordKind.JOB].record_of + job_id, field, '{"of the next version": 1}')
    problem = refused(client.get(address.format(job_id)), 503, "store_unavailable")
    assert job_id in problem["detail"] and "another version" in problem["detail"]


def test_an_unknown_state_is_refused(client: httpx.Client) -> None:
    problem = refused(client.get("/jobs?state=sleeping"), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == "state"
    assert "sleeping" in problem["detail"]
