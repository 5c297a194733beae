"""GET /samples: the gateway's part, with a sampler played by the tests."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from contract.errors import ErrorCode
from contract.formats import FORMS, SampleFormat
from contract.job import CheckpointFact, State
from contract.keys import SAMPLES_REPLIES_OF, SAMPLES_WAITING, Role
from contract.owning import leave
from contract.training import MAX_SEED
from tests.service.deployment import Deployment
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.waiting import until

UNKNOWN_DIGEST = "sha256:" + "0" * 64


def test_seed_gives_a_picture(client: httpx.Client, sampler: Sampler, finished: CheckpointFact) -> None:
    answer = client.get("/samples?seed=7")
    assert answer.status_code == 200
    assert answer.content == f"{finished.digest}/7+1.png".encode()
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-seed"] == "7"
    assert answer.headers["x-model-digest"] == finished.digest
    assert answer.headers["vary"] == "Accept"
    assert sampler.asks[0].place.file == finished.file


@pytest.mark.parametrize("reference", ["", "latest", "job", "digest", "best"])
def test_every_kind_of_reference_resolves_to_the_generator(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, job_id: str, reference: str
) -> None:
    assert client.put("/models/best", json={"digest": finished.digest}).is_success
    model = {"job": job_id, "digest": finished.digest}.get(reference, reference)
    answer = client.get(f"/samples?seed=7&model={model}" if model else "/samples?seed=7")
    assert answer.headers["x-model-digest"] == finished.digest
    assert sampler.asks[0].place.job == job_id
    client.delete("/models/best")


def test_the_same_picture_is_rendered_once(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    answers = [client.get("/samples?seed=7&count=4") for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert len(sampler.asks) == 1


def test_different_seed_or_count_is_a_different_picture(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    queries = ("seed=1", "seed=2", "seed=1&count=2")
    etags = {client.get(f"/samples?{query}").headers["etag"] for query in queries}
    assert len(etags) == 3


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("seed=-1", "seed"),
        (f"seed={MAX_SEED + 1}", "seed"),
        ("seed=x", "seed"),
        ("seed=1.5", "seed"),
        ("seed=", "seed"),
        ("seed=1&count=0", "count"),
        ("seed=1&count=-4", "count"),
        ("seed=1&count=1025", "count"),
        (f"seed={MAX_SEED}&count=2", "count"),
        ("seed=1&format=gif", "format"),
        ("seed=1&columns=0", "columns"),
        ("seed=1&count=4&columns=1025", "columns"),
        ("seed=1&padding=-1", "padding"),
        ("seed=1&padding=257", "padding"),
        ("seed=1&scale=0", "scale"),
        ("seed=1&scale=17", "scale"),
        ("seed=1&scale=1.5", "scale"),
        ("seed=1&resample=bicubic", "resample"),
        ("seed=1&truncation=0", "truncation"),
        ("seed=1&truncation=1.5", "truncation"),
        ("seed=1&truncation=nan", "truncation"),
        ("seed=1&count=4&format=zip&columns=4", "columns"),
        ("seed=1&count=4&format=json&padding=1", "padding"),
        ("seed=1&format=npz&scale=2", "scale"),
        ("seed=1&to=-1", "to"),
        ("seed=1&to=2", "count"),
        ("seed=1&to=2&count=3&at=0.5", "count"),
        ("seed=1&to=2&at=1.5", "at"),
        ("seed=1&at=0.5", "at"),
        ("seed=1&to=1&count=3", "seed"),
        ("to=2&count=3", "seed"),
        ("seed=1&sede=2", "sede"),
        ("seed=1&model=Best", "model"),
        ("seed=1&model=sha256:12", "model"),
        ("seed=1&model=", "model"),
        ("seed=1&model=latest%0a", "model"),
    ],
)
def test_refusal_of_a_wrong_parameter_names_it(
    client: httpx.Client, finished: CheckpointFact, query: str, name: str
) -> None:
    problem = refused(client.get(f"/samples?{query}"), 422, "invalid_request")
    assert problem["errors"][0]["pointer"] == name
    assert name in problem["detail"]


def test_largest_seed_is_valid(client: httpx.Client, sampler: Sampler, finished: CheckpointFact) -> None:
    assert client.get(f"/samples?seed={MAX_SEED}").status_code == 200
    assert client.get(f"/samples?seed={MAX_SEED - 1}&count=2").status_code == 200


@pytest.mark.parametrize("model", ["nobody", UNKNOWN_DIGEST, "job_0000000000000000"])
def test_an_unknown_model_is_not_found(client: httpx.Client, model: str) -> None:
    problem = refused(client.get(f"/samples?seed=1&model={model}"), 404, "model_not_found")
    assert model in problem["detail"]


def test_refusal_without_any_model_says_how_to_create_one(client: httpx.Client) -> None:
    problem = refused(client.get("/samples?seed=1"), 404, "no_model_yet")
    assert "No training job has succeeded yet" in problem["detail"]
    assert "/datasets" in problem["detail"]


def test_a_job_without_a_checkpoint_is_no_model_yet(client: httpx.Client, new_job: Callable[[], str]) -> None:
    assert refused(client.get(f"/samples?seed=1&model={new_job()}"), 404, "no_model_yet")["retryable"]


def test_a_job_that_ended_without_a_checkpoint_is_not_waited_for(
    client: httpx.Client, new_job: Callable[[], str]
) -> None:
    job_id = new_job()
    assert client.post(f"/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    problem = refused(client.get(f"/samples?seed=1&model={job_id}"), 404, "no_model_yet")
    assert f"is cancelled and made no checkpoint; GET /jobs/{job_id} tells why" in problem["detail"]
    assert not problem["retryable"]


def test_model_of_a_deleted_job_is_gone(client: httpx.Client, job_id: str, finished: CheckpointFact) -> None:
    client.delete(f"/jobs/{job_id}")
    refused(client.get(f"/samples?seed=1&model={job_id}"), 410, "record_deleted")
    refused(client.get(f"/samples?seed=1&model={finished.digest}"), 404, "model_not_found")
    refused(client.get("/samples?seed=1"), 404, "no_model_yet")


def test_latest_is_the_job_that_finished_last(
    client: httpx.Client,
    sampler: Sampler,
    worker: Worker,
    finished: CheckpointFact,
    new_job: Callable[[], str],
) -> None:
    new_job()
    lease = worker.claim()
    newer = worker.checkpoint(lease)
    assert client.get("/samples?seed=1").headers["x-model-digest"] == finished.digest
    worker.run(leave(lease, State.SUCCEEDED))
    assert client.get("/samples?seed=1").headers["x-model-digest"] == newer.digest


def test_an_older_checkpoint_is_served_by_its_digest(
    client: httpx.Client, sampler: Sampler, worker: Worker, new_job: Callable[[], str]
) -> None:
    new_job()
    lease = worker.claim()
    older, _ = worker.checkpoint(lease, 100), worker.checkpoint(lease, 200)
    client.get(f"/samples?seed=1&model={older.digest}")
    assert sampler.asks[0].place.file == older.file


@pytest.mark.parametrize("chosen", FORMS)
def test_format_is_chosen_by_name_or_by_accept(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, chosen: SampleFormat
) -> None:
    media_type = FORMS[chosen].media_type
    named = client.get(f"/samples?seed=7&format={chosen}")
    assert named.headers["content-type"] == media_type
    assert named.content.endswith(f".{chosen}".encode())
    assert "vary" not in named.headers
    accepted = client.get("/samples?seed=7", headers={"accept": f"{media_type}, */*;q=0.1"})
    assert (accepted.content, accepted.headers["etag"]) == (named.content, named.headers["etag"])
    assert accepted.headers["vary"] == "Accept"
    assert client.get(named.headers["content-location"]).content == named.content


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("count=4&columns=1&padding=2", "columns=1,padding=2"),
        ("scale=3&resample=lanczos", "scale=3,resample=lanczos"),
        ("count=4&columns=2&padding=0&scale=1&resample=lanczos", ""),
        ("count=1&columns=8&padding=3", ""),
        ("count=3&columns=1024", "columns=3"),
        ("count=4&format=zip&scale=2", "scale=2"),
        ("truncation=0.50", "truncation=0.5"),
        ("truncation=1.0", ""),
    ],
)
def test_options_without_an_effect_are_dropped_from_the_spec(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, query: str, said: str
) -> None:
    answer = client.get(f"/samples?seed=7&{query}")
    assert answer.status_code == 200
    options = answer.text.partition("+")[2].rpartition(".")[0].partition(",")[2]
    assert options == said
    assert client.get(answer.headers["content-location"]).headers["etag"] == answer.headers["etag"]
    assert len(sampler.asks) == 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("to=42&count=9", "7-to-42+9"),
        ("to=42&at=.5", "7-to-42-at-0.5+1"),
        ("to=42&at=0", "7+1"),
        ("to=42&at=1", "42+1"),
    ],
)
def test_path_is_a_picture_with_an_address(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, query: str, said: str
) -> None:
    answer = client.get(f"/samples?seed=7&{query}")
    assert answer.text.partition("/")[2] == f"{said}.png"
    again = client.get(answer.headers["content-location"])
    assert (again.content, again.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert "immutable" in again.headers["cache-control"]


def test_named_format_overrides_accept(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    answer = client.get("/samples?seed=7&format=webp", headers={"accept": "image/png"})
    assert answer.headers["content-type"] == "image/webp"


def test_each_format_has_its_own_etag(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    etags = {client.get(f"/samples?seed=7&format={chosen}").headers["etag"] for chosen in FORMS}
    assert len(etags) == len(FORMS)


def test_refusal_of_an_accept_header_lists_the_available_formats(
    client: httpx.Client, finished: CheckpointFact
) -> None:
    answer = client.get("/samples?seed=1", headers={"accept": "image/avif, text/*"})
    problem = refused(answer, 406, "not_acceptable")
    assert all(form.media_type in problem["detail"] for form in FORMS.values())


def test_missing_sampler_is_reported_with_retry_after(
    client: httpx.Client, worker: Worker, finished: CheckpointFact
) -> None:
    worker.goodbye(Role.SAMPLE)
    until(lambda: client.get("/readyz").status_code == 503)
    answer = client.get("/samples?seed=1")
    assert refused(answer, 503, "no_sampler")["retryable"]
    assert int(answer.headers["retry-after"]) >= 1


def test_sampler_that_does_not_answer_in_time_is_reported(elsewhere: Callable[..., Deployment]) -> None:
    there = elsewhere(sample_timeout_seconds=0.3)
    there.end(State.SUCCEEDED)
    assert refused(there.client.get("/samples?seed=1"), 504, "sampler_timeout")["retryable"]
    sampler = Sampler(there.worker.url)
    sampler.start()
    until(lambda: there.client.get("/samples?seed=2").status_code == 200)
    sampler.stop()


def test_deadline_is_in_redis_time(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact
) -> None:
    before, _ = worker.redis.time()
    client.get("/samples?seed=1")
    after, _ = worker.redis.time()
    deadline = sampler.asks[0].deadline_ms / 1000
    assert before + 10 < deadline < after + 30  # 20 s; the error is at most the duration of `TIME`


def test_excess_concurrent_requests_are_refused_with_retry_after(
    client: httpx.Client, sampler: Sampler, worker: Worker, finished: CheckpointFact
) -> None:
    sampler.hold()
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(client.get, f"/samples?seed={seed}") for seed in range(4)]
        until(lambda: worker.redis.llen(SAMPLES_WAITING) == 4)
        busy = [client.get(f"/samples?seed=4{model}") for model in ("", "&model=renderer")]
        sampler.held.clear()
        assert [one.result().status_code for one in waiting] == [200] * 4
    for one in busy:
        refused(one, 503, "sampler_busy")
        assert int(one.headers["retry-after"]) >= 1


def test_concurrent_requests_for_the_same_picture_are_rendered_once(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, worker: Worker
) -> None:
    sampler.hold()
    with ThreadPoolExecutor(8) as threads:
        answers = [threads.submit(client.get, "/samples?seed=7") for _ in range(8)]
        until(lambda: worker.redis.llen(SAMPLES_WAITING))
        sampler.held.clear()
        contents = {answer.result().content for answer in answers}
    assert len(contents) == 1
    assert len(sampler.asks) == 1


def test_refusal_by_a_sampler_is_a_problem_document(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    sampler.refusal = (ErrorCode.CHECKPOINT_UNREADABLE, "The file is damaged.", "")
    problem = refused(client.get("/samples?seed=1"), 500, "checkpoint_unreadable")
    assert (problem["detail"], problem["errors"]) == ("The file is damaged.", [])
    assert len(sampler.asks) == 1
    sampler.refusal = None
    assert client.get("/samples?seed=1").status_code == 200


def test_refusal_by_a_sampler_names_the_parameter(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    sampler.refusal = (ErrorCode.INVALID_REQUEST, "Too many.", "count")
    problem = refused(client.get("/samples?seed=1&count=9"), 422, "invalid_request")
    assert problem["errors"] == [{"pointer": "count", "detail": "Too many."}]


UNREADABLE = {
    "a stage more": b'["1","r1",null,"",1,2,3,4]\n',
    "no list": b"7\n",
    "an id that is a list": b'[[],"r1",null,""]\n',
    "bottomless": b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("frame", UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_answer_does_not_affect_others(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, worker: Worker, frame: bytes
) -> None:
    assert client.get("/samples?seed=1").status_code == 200
    worker.redis.rpush(SAMPLES_REPLIES_OF + sampler.asks[0].gateway, frame)
    assert client.get("/samples?seed=2").status_code == 200
    assert len(sampler.asks) == 2
