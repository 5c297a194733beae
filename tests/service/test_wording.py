"""What refusals say of wrong values, and that none is converted in silence."""

from typing import Any

import httpx
import pytest

from tests.service.problems import refused


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"images": True}, "images is true but should be a whole number."),
        ({"images": 1e6}, "images is 1000000.0 but should be a whole number, written without a point or an"),
        ({"mirror": "yes"}, "mirror is 'yes' but should be true or false."),
        ({"batch_size": "16"}, "batch_size is '16' but should be a whole number."),
        ({"generator_learning_rate": False}, "generator_learning_rate is false but should be a number."),
        ({"prior": {"kind": "poisson", "rate": "4"}}, "prior/rate is '4' but should be a number."),
        ({"terms": [{"kind": "mmd", "weight": True}]}, "terms/0/weight is true but should be a number."),
        ({"dataset": "flowers"}, "dataset is 'flowers' but should be the id of a dataset (ds_ and 16"),
    ],
)
def test_value_of_another_type_is_refused_and_not_converted(
    client: httpx.Client, dataset: str, fields: dict[str, Any], told: str
) -> None:
    answer = client.post("/jobs", json={"dataset": dataset, **fields})
    assert refused(answer, 422, "invalid_request")["detail"].startswith(told)


def test_whole_number_passes_for_a_number(client: httpx.Client, dataset: str) -> None:
    spec = client.post("/jobs", json={"dataset": dataset, "generator_learning_rate": 1}).json()["spec"]
    assert spec["generator_learning_rate"] == 1.0


@pytest.mark.parametrize(
    ("body", "pointer", "told"),
    [
        ({"seeds": [True]}, "/seeds/0", "seeds/0 is true but should be a whole number."),
        ({"seeds": [0] * 1025}, "/seeds", "seeds has 1025 entries; at most 1024 are allowed."),
        ({"seeds": [1], "scale": "4"}, "/scale", "scale is '4' but should be a whole number."),
        ({"latents": [[True]]}, "/latents/0/0", "latents/0/0 is true but should be a number."),
        ({"latents": [[]]}, "/latents/0", "latents/0 is empty; give it as many numbers as"),
        ({"latents": [[1, 2], [1]]}, "/latents/1", "latents/1 has 1 numbers, but latents/0 has 2;"),
    ],
)
def test_wrong_entry_of_a_list_is_named(
    client: httpx.Client, body: dict[str, Any], pointer: str, told: str
) -> None:
    problem = refused(client.post("/samples", json=body), 422, "invalid_request")
    assert (problem["errors"][0]["pointer"], problem["detail"].startswith(told)) == (pointer, True), problem


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/jobs?cursor=abc", "cursor is 'abc' but should be what `next` of the previous page gives."),
        ("/problems/foo", "There is no kind of refusal 'foo'; GET /problems lists all."),
    ],
)
def test_wrong_text_is_told_what_it_should_be(client: httpx.Client, address: str, told: str) -> None:
    assert client.get(address).json()["detail"] == told


def test_number_of_thousands_of_digits_is_named(client: httpx.Client) -> None:
    answer = client.post(
        "/jobs", content=b'{"images": %s}' % (b"9" * 6000), headers={"content-type": "application/json"}
    )
    assert "thousands of digits" in refused(answer, 422, "invalid_request")["detail"]
