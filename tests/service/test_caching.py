"""Answers, above all those of GET and HEAD /samples, follow the rules of HTTP caching (RFC 9110 and 9111)."""

from collections.abc import Callable

import httpx
import pytest

from contract.errors import ErrorCode
from contract.job import CheckpointFact
from contract.keys import RENDERER, Role
from tests.service.document import openapi
from tests.service.playing import Sampler, Worker
from tests.service.problems import refused
from tests.service.waiting import until

_PAGES = ("/", "/docs", "/docs/files/favicon.png", "/openapi.json")
_READABLE = [path for path, operations in openapi()["paths"].items() if "get" in operations]


@pytest.fixture
def no_sampler(client: httpx.Client, worker: Worker, sampler: Sampler) -> Callable[[], None]:
    """Stops the sampler, and waits until the gateway has noticed."""

    def end() -> None:
        sampler.stop()
        worker.goodbye(Role.SAMPLE)
        until(lambda: client.get("/readyz").status_code == 503)

    return end


def test_url_with_a_digest_is_immutable(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    answer = client.get(f"/samples?seed=7&model={finished.digest}")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["etag"].startswith('"')
    assert "content-location" not in answer.headers


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.parametrize("accept", ["*/*", "image/webp"])
def test_url_without_a_digest_names_the_pinned_one_in_content_location(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, count: int, accept: str
) -> None:
    answer = client.get(f"/samples?seed=7&count={count}", headers={"accept": accept})
    assert answer.headers["cache-control"] == "no-cache"
    pinned = client.get(answer.headers["content-location"])
    assert (pinned.content, pinned.headers["etag"]) == (answer.content, answer.headers["etag"])
    assert "immutable" in pinned.headers["cache-control"]
    assert "vary" not in pinned.headers


def test_without_a_seed_a_random_one_is_used_and_reported(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    answers = [client.get(f"/samples?model={finished.digest}") for _ in range(2)]
    assert answers[0].headers["x-seed"] != answers[1].headers["x-seed"]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    again = client.get(answers[0].headers["content-location"])
    assert (again.content, again.headers["x-seed"]) == (answers[0].content, answers[0].headers["x-seed"])


def test_if_none_match_any_counts_only_once_the_picture_was_rendered(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    path, wanted = f"/samples?seed=7&model={finished.digest}", {"if-none-match": "*"}
    sampler.refusal = (ErrorCode.INVALID_REQUEST, "Too many.", "count")
    refused(client.get(path, headers=wanted), 422, "invalid_request")
    sampler.refusal = None
    assert client.get(path, headers=wanted).status_code == 304
    assert len(sampler.asks) == 2


@pytest.mark.parametrize("malformed", ["W/*", '"other", *', '"other, *, 2"', "other", '"', ","])
def test_if_none_match_that_is_malformed_or_of_another_picture_matches_nothing(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, malformed: str
) -> None:
    for _ in range(2):
        answer = client.get("/samples?seed=7", headers={"if-none-match": malformed})
        assert (answer.status_code, bool(answer.content)) == (200, True)


@pytest.mark.parametrize("option", ["", "&resample=n%65arest"], ids=["plain", "through FastAPI"])
def test_if_match_of_another_picture_is_refused(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, option: str
) -> None:
    path = f"/samples?seed=7&model={finished.digest}{option}"
    etag = client.get(path).headers["etag"]
    for fine in (etag, "*", f'"other", {etag}'):
        assert client.get(path, headers={"if-match": fine}).status_code == 200
    for other in ('"other"', f"W/{etag}"):
        answer = client.get(path, headers={"if-match": other, "if-none-match": etag})
        problem = refused(answer, 412, "precondition_failed")
        assert other in problem["detail"]
        assert etag in problem["detail"]
        assert answer.headers["cache-control"] == "no-store"
    unrendered = client.get(path.replace("seed=7", "seed=8"), headers={"if-match": '"other"'})
    refused(unrendered, 412, "precondition_failed")
    assert len(sampler.asks) == 1


def test_if_none_match_any_is_ignored_for_a_random_seed(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    has_any = {"if-none-match": "*"}
    assert client.get("/samples?seed=7", headers=has_any).status_code == 304
    drawn = client.get("/samples", headers=has_any)
    assert (drawn.status_code, bool(drawn.content)) == (200, True)


def test_client_that_has_the_picture_gets_304_without_a_sampler(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, no_sampler: Callable[[], None]
) -> None:
    first = client.get("/samples?seed=7")
    no_sampler()
    etag = first.headers["etag"]
    for condition in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = client.get("/samples?seed=7", headers={"if-none-match": condition})
        assert (answer.status_code, answer.content) == (304, b"")
        kept = ("etag", "cache-control", "content-location", "vary")  # RFC 9110, 15.4.5
        assert [answer.headers[name] for name in kept] == [first.headers[name] for name in kept]
    assert client.get("/samples?seed=7", headers={"if-none-match": '"other"'}).status_code == 200
    assert len(sampler.asks) == 1


def test_matching_etag_gets_304_even_if_the_picture_was_never_rendered(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, no_sampler: Callable[[], None]
) -> None:
    no_sampler()
    etag = client.head("/samples?seed=7").headers["etag"]
    assert client.get("/samples?seed=7", headers={"if-none-match": etag}).status_code == 304
    assert not sampler.asks


def test_cached_picture_is_served_without_a_sampler(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, no_sampler: Callable[[], None]
) -> None:
    first = client.get("/samples?seed=7&count=4")
    no_sampler()
    again = client.get(f"/samples?seed=7&count=4&columns=2&model={finished.digest}&format=png")
    assert (again.status_code, again.content) == (200, first.content)
    refused(client.get("/samples?seed=8"), 503, "no_sampler")
    assert len(sampler.asks) == 1


def test_head_renders_nothing(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, no_sampler: Callable[[], None]
) -> None:
    no_sampler()
    for query in ("seed=7", f"seed=7&model={finished.digest}&format=zip", "count=2"):
        answer = client.head(f"/samples?{query}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert "content-length" not in answer.headers
        assert answer.headers["etag"]
    assert not sampler.asks


@pytest.mark.parametrize("is_rendered", [False, True])
def test_head_has_the_headers_of_get(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, is_rendered: bool
) -> None:
    before = client.get("/samples?seed=7") if is_rendered else None
    head = client.head("/samples?seed=7")
    got = before or client.get("/samples?seed=7")
    allowed_to_differ = {"date", "server-timing", *(() if is_rendered else ("content-length",))}
    assert {name: value for name, value in head.headers.items() if name not in allowed_to_differ} == {
        name: value for name, value in got.headers.items() if name not in allowed_to_differ
    }
    assert client.head("/samples?seed=7", headers={"if-none-match": got.headers["etag"]}).status_code == 304


def test_head_before_the_first_sampler_has_no_etag(
    client: httpx.Client, worker: Worker, finished: CheckpointFact
) -> None:
    worker.redis.delete(RENDERER)
    until(lambda: "etag" not in client.head("/samples?seed=7").headers)
    assert client.head("/samples?seed=7").status_code == 200


def test_if_none_match_any_before_the_first_sampler_gets_the_etag_of_a_rendered_picture(
    client: httpx.Client, worker: Worker, sampler: Sampler, finished: CheckpointFact
) -> None:
    worker.redis.delete(RENDERER)
    until(lambda: "etag" not in client.head("/samples?seed=7").headers)
    has_any = {"if-none-match": "*"}
    head = client.head("/samples?seed=7", headers=has_any)
    assert (head.status_code, "etag" in head.headers) == (200, False)
    answer = client.get("/samples?seed=7", headers=has_any)
    assert answer.status_code == 304
    assert answer.headers["etag"] == client.get("/samples?seed=7").headers["etag"]


@pytest.mark.parametrize(
    ("query", "status"), [("seed=-1", 422), ("seed=1&model=nobody", 404), ("seed=1&scale=99", 422)]
)
def test_refusals_are_sent_as_no_store(
    client: httpx.Client, finished: CheckpointFact, query: str, status: int
) -> None:
    for answer in (client.get(f"/samples?{query}"), client.head(f"/samples?{query}")):
        assert (answer.status_code, answer.headers["cache-control"]) == (status, "no-store")


@pytest.mark.parametrize("path", [*_READABLE, *_PAGES])
def test_no_cache_has_to_guess_how_long_an_answer_is_true(
    client: httpx.Client, sampler: Sampler, job_id: str, dataset: str, path: str
) -> None:
    named = {"job_id": job_id, "dataset_id": dataset, "reference": job_id, "alias": "latest"}
    address = path.format(code="internal", images_seen=7, **named)
    answer = client.get(address, headers={"accept": "application/json"})
    assert answer.headers["cache-control"] in ("no-cache", "no-store")
