"""An alias is not moved to a generator that a sampler cannot load."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from contract.errors import ErrorCode
from contract.forgetting import forget_job
from contract.identifiers import IMPORTED
from contract.imports import Import, add_import
from contract.job import CheckpointFact
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING_FOR, Role
from contract.sampling import CheckpointPlace
from contract.volume import Volume
from contract.wire import Answer, Ask
from contract.workers import hello
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.warming.PATIENCE_SECONDS", 60)


@pytest.fixture
def live(client: httpx.Client, sampler: Sampler, generators: list[CheckpointFact]) -> str:
    """The state of the alias `live`, which points to the first generator, and pointed to the second."""
    for fact in (generators[1], generators[0]):
        client.put("/models/live", json={"digest": fact.digest}).raise_for_status()
    return client.get("/models/live").text


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.CHECKPOINT_UNREADABLE, 500),
        (ErrorCode.INSUFFICIENT_MEMORY, 507),
        (ErrorCode.INTERNAL, 500),
        (ErrorCode.VOLUME_FAILING, 503),
    ],
)
@pytest.mark.parametrize("change", ["put", "rollback"])
def test_alias_stays_where_it_is(
    client: httpx.Client,
    sampler: Sampler,
    volume: Volume,
    generators: list[CheckpointFact],
    live: str,
    code: ErrorCode,
    status: int,
    change: str,
) -> None:
    written = volume.alias("live").read_bytes()
    sampler.refusal = (code, "It is too much.", "")
    if change == "put":
        answer = client.put("/models/live", json={"digest": generators[2].digest})
    else:
        answer = client.post("/models/live/rollback")
    problem = refused(answer, status, code)
    assert problem["detail"].startswith("Nothing was changed")
    assert problem["detail"].endswith("It is too much.")
    sampler.refusal = None
    assert client.get("/models/live").text == live
    assert volume.alias("live").read_bytes() == written
    assert client.get("/samples?seed=1&model=live").headers["x-model-digest"] == generators[0].digest


def test_one_of_several_samplers_can_refuse(
    client: httpx.Client, worker: Worker, generators: list[CheckpointFact], live: str
) -> None:
    second = {"role": Role.SAMPLE, "active": True, "renderer": "r1", "name": "sample-2"}
    worker.run(hello("sample-2", second, 60))
    with ThreadPoolExecutor(1) as thread:
        moving = thread.submit(client.put, "/models/live", json={"digest": generators[2].digest})
        taken = worker.redis.blpop([SAMPLES_WAITING_FOR + "sample-2"], 9)
        assert taken is not None
        ask = Ask.unpack(str(taken[1]).encode())
        answer = Answer(ask.id, "r1", b"", ErrorCode.INSUFFICIENT_MEMORY, "It has little memory.")
        worker.redis.rpush(SAMPLES_REPLIES_OF + ask.gateway, answer.pack())
        refused(moving.result(), 507, ErrorCode.INSUFFICIENT_MEMORY)
    assert client.get("/models/live").text == live


def test_other_copy_of_a_damaged_generator_is_loaded(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    job_id: str,
) -> None:
    sampler.gone.add(CheckpointPlace(job=job_id, file=finished.file))
    worker.run(add_import(finished.digest, Import(imported_ms=1, bytes=1)))
    assert client.put("/models/live", json={"job": job_id}).is_success
    assert sampler.asks[-1].place.job == IMPORTED
    assert client.get("/samples?seed=1&model=live").headers["x-model-digest"] == finished.digest


def test_generator_that_is_deleted_meanwhile_is_not_found(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    job_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    take: Callable[[], object] = sampler._next
    sampler.gone.add(CheckpointPlace(job=job_id, file=finished.file))

    def take_and_forget() -> object:
        frame = take()
        if frame is not None:
            worker.run(forget_job(job_id))
        return frame

    monkeypatch.setattr(sampler, "_next", take_and_forget)
    refused(client.put("/models/live", json={"digest": finished.digest}), 404, "model_not_found")
