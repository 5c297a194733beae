"""Dry runs are refused like real submissions, estimated by a trainer, and leave no trace."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from contract.errors import ErrorCode
from contract.estimate import (
    AskedTrainer,
    Estimate,
    EstimateAnswer,
    EstimateAsk,
    EvaluationPlan,
    MemoryEstimate,
    TimeEstimate,
)
from contract.job import Failure, State
from contract.keys import ESTIMATE_REPLY_OF, ESTIMATES_WAITING, RecordKind, Role
from contract.owning import leave
from contract.volume import Volume
from contract.workers import goodbye, hello
from tests.service.deployment import Deployment
from tests.service.playing import Worker
from tests.service.problems import refused
from tests.service.test_jobs import NO_OBJECTS, WRONG_FIELDS
from tests.service.waiting import until

ESTIMATE = Estimate(
    memory=MemoryEstimate(needed_bytes=2**27, available_bytes=2**31, fits=True, batch_size=None),
    time=TimeEstimate(seconds=153.2, basis="measured", detail="Timed just now."),
    evaluations=EvaluationPlan(count=13, every_images=9_600),
    trainer=AskedTrainer(
        name="train-1", device="cpu", device_model="EPYC", threads=2, precision="float32", is_training=False
    ),
    error=None,
)


class Trainer(threading.Thread):
    """Plays a trainer's estimating thread: replies to each request with `answer`, if any."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.asks: list[EstimateAsk] = []
        self.answer: EstimateAnswer | None = EstimateAnswer(estimate=ESTIMATE)
        self._redis = redis.Redis.from_url(url, decode_responses=True, socket_timeout=60)
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.005):
            frame = self._redis.lpop(ESTIMATES_WAITING)
            if isinstance(frame, str):
                ask = EstimateAsk.model_validate_json(frame)
                self.asks.append(ask)
                if self.answer:
                    self._redis.set(ESTIMATE_REPLY_OF + ask.id, self.answer.model_dump_json(), ex=30)

    def stop(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture
def trainer(redis_url: str, worker: Worker) -> Iterator[Trainer]:
    trainer = Trainer(redis_url)
    trainer.start()
    yield trainer
    trainer.stop()


def _dry_run(client: httpx.Client, **request: object) -> httpx.Response:
    return client.post("/jobs?dry_run=true", json=request)


def _traces(worker: Worker, volume: Volume) -> tuple[set[str], set[object]]:
    """All keys and files that a job could leave, without those of workers and Celery, which change anyway."""
    alive = {key for key in worker.redis.scan_iter() if ":workers" not in key and ":celery:" not in key}
    return alive, set(volume.root.rglob("*"))


def test_dry_run_returns_the_spec_and_the_estimate(
    client: httpx.Client, trainer: Trainer, dataset: str
) -> None:
    answer = _dry_run(client, dataset=dataset, images=640, name="flowers")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json()["estimate"] == ESTIMATE.model_dump(mode="json")
    real = client.post("/jobs", json={"dataset": dataset, "images": 640, "name": "flowers"}).json()
    assert answer.json()["spec"] == real["spec"] == trainer.asks[0].spec.model_dump(mode="json")
    assert (trainer.asks[0].images, trainer.asks[0].held_out_images) == (10, 1)


def test_dry_run_says_that_no_trainer_has_enough_devices(
    client: httpx.Client, trainer: Trainer, worker: Worker, dataset: str
) -> None:
    assert _dry_run(client, dataset=dataset).json()["stalled_reason"] is None
    told = _dry_run(client, dataset=dataset, devices=2).json()["stalled_reason"]
    assert told.startswith("It needs 2 devices, but the largest living trainer owns 1; ")
    assert "DCGAN_DEVICES=2" in told
    worker.run(hello("train-2", {"role": Role.TRAIN, "devices": 2}, 60))
    assert _dry_run(client, dataset=dataset, devices=2).json()["stalled_reason"] is None
    worker.run(goodbye("train-2"))


def test_dry_run_leaves_no_trace(
    client: httpx.Client, trainer: Trainer, worker: Worker, volume: Volume, dataset: str
) -> None:
    before = _traces(worker, volume)
    assert _dry_run(client, dataset=dataset).status_code == 200
    assert _traces(worker, volume) == before
    assert client.get("/jobs").json()["items"] == []


@pytest.mark.parametrize("change", [change for change, _ in WRONG_FIELDS])
def test_wrong_field_is_refused_as_in_a_real_submission(
    client: httpx.Client, dataset: str, change: dict[str, object]
) -> None:
    body = {"dataset": dataset, **change}
    dry, real = _dry_run(client, **body), client.post("/jobs", json=body)
    assert (dry.status_code, dry.json()) == (real.status_code, real.json())
    assert dry.status_code == 422


@pytest.mark.parametrize("body", NO_OBJECTS)
def test_body_that_is_no_object_is_refused_as_in_a_real_submission(client: httpx.Client, body: bytes) -> None:
    answers = [
        client.post(f"/jobs{query}", content=body, headers={"content-type": "application/json"})
        for query in ("", "?dry_run=true")
    ]
    assert answers[0].json() == answers[1].json()


def test_unusable_dataset_is_refused_as_in_a_real_submission(
    client: httpx.Client, trainer: Trainer, worker: Worker, pictures: bytes, dataset: str
) -> None:
    unprepared = client.post("/datasets", content=pictures).json()["id"]
    bodies = [{"dataset": "ds_0000000000000000"}, {"dataset": unprepared}, {"dataset": dataset}]
    client.delete(f"/datasets/{dataset}")
    for body, status in zip(bodies, (404, 409, 410), strict=True):
        dry, real = _dry_run(client, **body), client.post("/jobs", json=body)
        assert (dry.status_code, dry.json()) == (real.status_code, real.json())
        assert dry.status_code == status
    worker.run(leave(worker.claim(RecordKind.DATASET), State.FAILED))
    dry, real = _dry_run(client, dataset=unprepared), client.post("/jobs", json={"dataset": unprepared})
    assert (dry.status_code, dry.json()) == (real.status_code, real.json())
    assert trainer.asks == []


@pytest.mark.parametrize("query", ["dryrun=true", "dry_run=perhaps", "dry_run=true&dry=1"])
def test_misspelt_dry_run_parameter_does_not_submit_a_job(
    client: httpx.Client, dataset: str, query: str
) -> None:
    refused(client.post(f"/jobs?{query}", json={"dataset": dataset}), 422, "invalid_request")
    assert client.get("/jobs").json()["items"] == []


def test_dry_run_false_submits_a_job(client: httpx.Client, dataset: str) -> None:
    assert client.post("/jobs?dry_run=false", json={"dataset": dataset}).status_code == 202


def test_dry_run_neither_uses_up_nor_checks_an_idempotency_key(
    client: httpx.Client, trainer: Trainer, dataset: str
) -> None:
    key = {"Idempotency-Key": "key-1"}
    assert client.post("/jobs?dry_run=true", json={"dataset": dataset}, headers=key).status_code == 200
    assert client.post("/jobs", json={"dataset": dataset}, headers=key).status_code == 202
    other = client.post("/jobs?dry_run=true", json={"dataset": dataset, "seed": 1}, headers=key)
    assert (other.status_code, other.json()["spec"]["seed"]) == (200, 1)


def test_dry_run_without_a_trainer_is_refused_at_once(
    client: httpx.Client, worker: Worker, dataset: str
) -> None:
    worker.goodbye(Role.TRAIN)
    until(lambda: client.get("/readyz").status_code == 503)
    answer = _dry_run(client, dataset=dataset)
    assert refused(answer, 503, "no_trainer")["retryable"]
    assert answer.headers["retry-after"]


def test_dry_run_times_out_as_configured_if_the_trainer_does_not_answer(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere(estimate_timeout_seconds=0.3)
    before = _traces(there.worker, there.worker.volume)
    trainer = Trainer(there.worker.url)
    trainer.answer = None  # as if it was killed
    trainer.start()
    answer = _dry_run(there.client, dataset=there.dataset)
    trainer.stop()
    assert refused(answer, 504, "trainer_timeout")["retryable"]
    assert answer.headers["retry-after"]
    assert _traces(there.worker, there.worker.volume) == before


def test_request_that_no_trainer_took_is_withdrawn_at_its_deadline(
    elsewhere: Callable[..., Deployment],
) -> None:
    there = elsewhere(estimate_timeout_seconds=0.3)
    refused(_dry_run(there.client, dataset=there.dataset), 504, "trainer_timeout")
    assert not there.worker.redis.exists(ESTIMATES_WAITING)


def test_request_has_a_deadline_in_redis_time_and_waits_in_a_list_that_expires(
    client: httpx.Client, worker: Worker, dataset: str
) -> None:
    before, _ = worker.redis.time()
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(_dry_run, client, dataset=dataset)
        frames = until(lambda: worker.redis.lrange(ESTIMATES_WAITING, 0, -1))
        after, _ = worker.redis.time()
        lives_seconds = worker.redis.ttl(ESTIMATES_WAITING)
        ask = EstimateAsk.model_validate_json(frames[0])
        worker.redis.set(ESTIMATE_REPLY_OF + ask.id, EstimateAnswer(estimate=ESTIMATE).model_dump_json())
        assert asking.result().status_code == 200
    assert before + 20 <= ask.deadline_ms / 1000 < after + 21
    assert 0 < lives_seconds <= 30


def test_excess_concurrent_dry_runs_are_refused_and_the_others_answered(
    client: httpx.Client, trainer: Trainer, worker: Worker, dataset: str
) -> None:
    trainer.answer = None
    answer = EstimateAnswer(estimate=ESTIMATE)
    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(_dry_run, client, dataset=dataset) for _ in range(2)]
        until(lambda: len(trainer.asks) == 2)
        busy = _dry_run(client, dataset=dataset)
        for ask in trainer.asks:
            worker.redis.set(ESTIMATE_REPLY_OF + ask.id, answer.model_dump_json())
        assert [one.result().status_code for one in asking] == [200, 200]
    assert refused(busy, 503, "trainer_busy")["retryable"]
    assert busy.headers["retry-after"]
    trainer.answer = answer
    assert _dry_run(client, dataset=dataset).status_code == 200


def test_trainer_that_cannot_estimate_says_why(client: httpx.Client, trainer: Trainer, dataset: str) -> None:
    trainer.answer = EstimateAnswer(error=Failure(code=ErrorCode.ESTIMATE_FAILED, detail="Its process died."))
    assert refused(_dry_run(client, dataset=dataset), 500, "estimate_failed")["detail"] == "Its process died."


def test_unknown_error_code_from_another_version_becomes_estimate_failed(
    client: httpx.Client, trainer: Trainer, dataset: str
) -> None:
    trainer.answer = EstimateAnswer(error=Failure(code="out_of_cheese", detail="Redo from start."))
    refused(_dry_run(client, dataset=dataset), 500, "estimate_failed")
