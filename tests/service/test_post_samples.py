"""POST /samples: seeds in any order and custom latents, with a sampler played by the tests."""

import json

import httpx
import numpy as np
import pytest

from contract.errors import ErrorCode
from contract.formats import FORMS
from contract.job import CheckpointFact
from contract.latents import MOST_NUMBERS
from contract.sampling import SampleOptions, SampleSpec
from contract.training import MAX_SEED
from dcgan.client import Client
from tests.service.playing import Sampler
from tests.service.problems import refused
from worker.formats.png import encode_png


@pytest.mark.parametrize("chosen", FORMS)
def test_256_seeds_take_one_round_trip_to_a_sampler(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, chosen: str
) -> None:
    seeds = [seed * 7919 % 1009 for seed in range(256)]
    answer = client.post("/samples", json={"seeds": seeds, "format": chosen})
    assert answer.status_code == 200
    assert list(sampler.asks[0].spec.seeds) == seeds
    assert len(sampler.asks) == 1
    assert answer.headers["x-model-digest"] == finished.digest


def test_response_is_cached_only_by_the_gateway(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    answers = [client.post("/samples", json={"seeds": [9, 7]}) for _ in range(3)]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert not any("etag" in answer.headers or "content-location" in answer.headers for answer in answers)
    assert len({answer.content for answer in answers}) == 1
    assert len(sampler.asks) == 1


def test_consecutive_seeds_have_a_url(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    posted = client.post("/samples", json={"seeds": [7, 8, 9], "columns": 1, "truncation": 0.5})
    assert posted.headers["cache-control"] == "no-store"
    got = client.get(posted.headers["content-location"])
    assert (got.content, got.headers["etag"]) == (posted.content, posted.headers["etag"])
    assert len(sampler.asks) == 1


def test_format_is_named_or_negotiated(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    accept = {"accept": "application/zip"}
    negotiated = client.post("/samples", json={"seeds": [9, 7]}, headers=accept)
    assert (negotiated.headers["content-type"], negotiated.headers["vary"]) == ("application/zip", "Accept")
    named = client.post("/samples", json={"seeds": [9, 7], "format": "npz"}, headers=accept)
    assert named.headers["content-type"] == "application/x-npz"
    assert "vary" not in named.headers


def test_conditional_headers_are_ignored(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    answer = client.post("/samples", json={"seeds": [7]}, headers={"if-none-match": "*"})
    assert answer.status_code == 200


def test_latents_reach_the_sampler_as_float32(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    answer = client.post("/samples", json={"latents": [[0.5, -1], [2, 0.1]], "model": finished.digest})
    assert answer.status_code == 200
    assert sampler.asks[0].spec == SampleSpec.of_latents(
        finished.digest, "png", [[0.5, -1.0], [2.0, 0.10000000149011612]], SampleOptions()
    )


@pytest.mark.parametrize("shape", [(512, 128), (64, 1024)])
def test_most_latents_give_a_picture_whose_recipe_gives_it_again(
    gateway_url: str, client: httpx.Client, sampler: Sampler, finished: CheckpointFact, shape: tuple[int, int]
) -> None:
    latents = np.random.default_rng(0).uniform(-1e-9, 1e-9, shape)
    assert latents.size == MOST_NUMBERS
    with Client(gateway_url) as theirs:
        picture = theirs.samples_of(latents=latents)
    (ask,) = sampler.asks
    png = encode_png(np.zeros((len(latents), 2, 2, 1), np.uint8), ask.spec)
    told = client.post("/png-info", content=png, headers={"content-type": "image/png"}).json()
    with_spaces = json.dumps(told["body"])
    assert len(with_spaces) > 23 * MOST_NUMBERS
    again = client.post("/samples", content=with_spaces, headers={"content-type": "application/json"})
    assert (again.status_code, again.content) == (200, picture)
    assert len(sampler.asks) == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/seeds"),
        ({"seeds": [1], "latents": [[1.0]]}, "/seeds"),
        ({"seeds": []}, "/seeds"),
        ({"seeds": [-1]}, "/seeds/0"),
        ({"seeds": [1, MAX_SEED + 1]}, "/seeds/1"),
        ({"seeds": [1, 2.5]}, "/seeds/1"),
        ({"seeds": [0] * 1025}, "/seeds"),
        ({"seeds": "all"}, "/seeds"),
        ({"latents": []}, "/latents"),
        ({"latents": [[]]}, "/latents/0"),
        ({"latents": [[1.0, 100.1]]}, "/latents/0/1"),
        ({"latents": [[1.0, "x"]]}, "/latents/0/1"),
        ({"latents": [[1.0] * 1025]}, "/latents/0"),
        ({"latents": [[1.0, 2.0], [1.0]]}, "/latents/1"),
        ({"latents": [[1] * 1024] * (MOST_NUMBERS // 1024 + 1)}, "/latents"),
        ({"latents": [[1.0]], "truncation": 0.5}, "/truncation"),
        ({"seeds": [1], "truncation": 0}, "/truncation"),
        ({"seeds": [1], "truncation": 1.1}, "/truncation"),
        ({"seeds": [1], "format": "gif"}, "/format"),
        ({"seeds": [1, 3], "format": "zip", "columns": 2}, "/columns"),
        ({"seeds": [1], "count": 2}, "/count"),
    ],
)
def test_refusal_of_a_wrong_body_points_to_the_error(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, body: object, pointer: str
) -> None:
    problem = refused(client.post("/samples", json=body), 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert not sampler.asks


@pytest.mark.parametrize(
    ("body", "given"), [({}, "neither was"), ({"seeds": [1], "latents": [[1.0]]}, "both were")]
)
def test_refusal_of_both_or_neither_says_which(client: httpx.Client, body: object, given: str) -> None:
    problem = refused(client.post("/samples", json=body), 422, "invalid_request")
    assert problem["detail"] == f"Give exactly one of seeds and latents; {given} given."


@pytest.mark.parametrize(
    ("body", "field", "pointer"),
    [
        ({"seeds": [1, 3]}, "count", "/seeds"),
        ({"latents": [[1.0]]}, "count", "/latents"),
        ({"latents": [[1.0]]}, "latents", "/latents"),
        ({"seeds": [1], "truncation": 0.5}, "truncation", "/truncation"),
    ],
)
def test_refusal_by_a_sampler_points_into_the_body(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact, body: object, field: str, pointer: str
) -> None:
    sampler.refusal = (ErrorCode.INVALID_REQUEST, "It does not fit.", field)
    problem = refused(client.post("/samples", json=body), 422, "invalid_request")
    assert problem["errors"] == [{"pointer": pointer, "detail": "It does not fit."}]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_latents_must_be_finite(client: httpx.Client, finished: CheckpointFact, number: str) -> None:
    headers = {"content-type": "application/json"}
    answer = client.post("/samples", content=f'{{"latents": [[{number}]]}}', headers=headers)
    refused(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        {"latents": [["x"] * 1000] * 500, "seeds": [-1] * 1000},
        {f"field{number}": 1 for number in range(120_000)},
    ],
    ids=["wrong numbers", "unknown fields"],
)
def test_body_with_very_many_errors_gets_a_short_answer(
    client: httpx.Client, finished: CheckpointFact, body: object
) -> None:
    answer = client.post("/samples", json=body)
    refused(answer, 422, "invalid_request")
    assert len(answer.content) < 10_000


def test_body_of_another_type_is_refused(client: httpx.Client) -> None:
    answer = client.post("/samples", content=b"seeds=1", headers={"content-type": "text/plain"})
    refused(answer, 415, "unsupported_media_type")


def test_recipe_of_a_picture_without_a_url_is_a_body(
    client: httpx.Client, sampler: Sampler, finished: CheckpointFact
) -> None:
    """The body that /png-info returns requests the same samples as the one that made the picture."""
    for asked in ({"seeds": [9, 7], "columns": 1}, {"latents": [[0.5, 0.1]], "scale": 2}):
        client.post("/samples", json=asked)
        spec = sampler.asks[-1].spec
        client.post("/samples", json=json.loads(json.dumps(spec.body())))
        assert sampler.asks[-1].spec == spec
    assert len({ask.id for ask in sampler.asks}) == 2  # the second of each was in the cache
