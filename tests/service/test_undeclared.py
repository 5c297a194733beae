"""Parameters and bodies that a route does not declare are refused, not ignored."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from contract.errors import ErrorCode
from tests.service.document import openapi
from tests.service.problems import refused

OPERATIONS = [(method, path) for path, operations in openapi()["paths"].items() for method in operations]
PARAMETERS = [
    parameter
    for operations in openapi()["paths"].values()
    for operation in operations.values()
    for parameter in operation.get("parameters", ())
]
NOBODY = {"job_id": "job_0000000000000000", "dataset_id": "ds_0000000000000000", "images_seen": "1"}


def address(path: str) -> str:
    named = {**NOBODY, "reference": "nobody", "alias": "nobody", "code": ErrorCode.INTERNAL}
    return re.sub(r"{(\w+)}", lambda found: named[found[1]], path)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_refuses_an_undeclared_parameter(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, address(path), params={"nonsense": "2"})
    problem = refused(answer, 422, "invalid_request")
    assert "nonsense" in [error["pointer"] for error in problem["errors"]]


def test_no_route_has_a_parameter_that_may_be_repeated() -> None:
    assert PARAMETERS
    assert not [one["name"] for one in PARAMETERS if "array" in str(one["schema"])]


@pytest.mark.parametrize("address", ["/samples?seed=7&seed=8", "/jobs?limit=5&state=queued&limit=6"])
def test_repeated_parameter_is_refused(client: httpx.Client, address: str) -> None:
    problem = refused(client.get(address), 422, "invalid_request")
    (error,) = problem["errors"]
    assert error["pointer"] in ("seed", "limit")
    assert "is given 2 times" in error["detail"]


@pytest.mark.parametrize("path", ["/samples", "/jobs", "/livez"])
def test_far_too_many_parameters_are_one_error(client: httpx.Client, path: str) -> None:
    query = "&".join(f"n{number}=1" for number in range(5000))
    problem = refused(client.get(f"{path}?{query}"), 422, "invalid_request")
    assert len(problem["errors"]) == 1
    assert "5000 parameters" in problem["detail"]


@pytest.mark.parametrize("path", ["/livez", "/datasets"])
@pytest.mark.parametrize(("count", "rest"), [(40, "8 others are"), (33, "1 other is")])
def test_a_problem_tells_how_many_errors_it_lists_and_how_many_not(
    client: httpx.Client, path: str, count: int, rest: str
) -> None:
    answer = client.get(path, params={f"n{number}": "1" for number in range(count)})
    problem = refused(answer, 422, "invalid_request")
    assert len(problem["errors"]) == 32
    assert problem["detail"].endswith(f" (31 more in errors.) {rest} not listed.")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_request_without_undeclared_input_is_not_refused_for_it(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, address(path))
    if answer.status_code == 422:
        assert "not a known" not in answer.text
        assert "does not accept a body" not in answer.text


@pytest.fixture
def cancelled(client: httpx.Client, new_job: Callable[[], str]) -> str:
    job = new_job()
    assert client.post(f"/jobs/{job}/cancel").status_code == 202
    return job


def jobs(client: httpx.Client) -> list[str]:
    return [job["id"] for job in client.get("/jobs").json()["items"]]


def test_retry_with_dry_run_is_refused_and_submits_nothing(client: httpx.Client, cancelled: str) -> None:
    problem = refused(client.post(f"/jobs/{cancelled}/retry?dry_run=true"), 422, "invalid_request")
    assert (
        problem["errors"][0]["detail"] == "dry_run is not a known parameter; this address has no parameters."
    )
    assert jobs(client) == [cancelled]


def test_deletion_with_dry_run_is_refused_and_deletes_nothing(client: httpx.Client, cancelled: str) -> None:
    refused(client.delete(f"/jobs/{cancelled}?dry_run=true"), 422, "invalid_request")
    assert client.get(f"/jobs/{cancelled}").status_code == 200


@pytest.mark.parametrize("content", [b'{"images": 5}', iter([b'{"images": 5}'])], ids=["told", "chunked"])
def test_a_body_that_would_be_ignored_is_refused(
    client: httpx.Client, cancelled: str, content: bytes | Iterator[bytes]
) -> None:
    answer = client.post(f"/jobs/{cancelled}/retry", content=content)
    assert "does not accept a body" in refused(answer, 422, "invalid_request")["detail"]
    assert jobs(client) == [cancelled]
    assert client.post(f"/jobs/{cancelled}/retry", content=b"").status_code == 202


def test_post_samples_takes_no_parameters(client: httpx.Client) -> None:
    answer = client.post("/samples?model=best&format=webp", json={"seeds": [7]})
    problem = refused(answer, 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["model", "format"]


MANY: dict[str, Any] = {f"field{number}": 1 for number in range(1_000)}
PUT_MODEL = ("PUT", "/models/live")
POST_JOB = ("POST", "/jobs")


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (("POST", "/samples"), MANY),
        (PUT_MODEL, MANY),
        (POST_JOB, MANY),
        (POST_JOB, {"architecture": {"kind": "dcgan", **MANY}}),
        (POST_JOB, {"terms": ["mmd", {"kind": "r1", **MANY}]}),
    ],
)
def test_body_with_far_too_many_fields_gets_one_error(
    client: httpx.Client, route: tuple[str, str], body: object
) -> None:
    problem = refused(client.request(*route, json=body), 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [""]
    assert "more than 256 fields" in problem["detail"]


@pytest.mark.parametrize("term", [{}, 0, [[]], "r3"])
def test_only_the_first_entry_of_a_list_that_is_all_wrong_is_reported(
    client: httpx.Client, term: object
) -> None:
    body = {"dataset": NOBODY["dataset_id"], "terms": [term] * 1_000}
    problem = refused(client.post("/jobs", json=body), 422, "invalid_request")
    (error,) = problem["errors"]
    assert error["pointer"].startswith("/terms/0")


@pytest.mark.parametrize("content_type", ["text/json", "application/jsonish"])
@pytest.mark.parametrize("content", [b"{", b"[" * 50_000, b'{"a": 1}'])
def test_body_of_a_type_that_resembles_json_is_refused_without_a_crash(
    client: httpx.Client, content_type: str, content: bytes
) -> None:
    answer = client.post("/jobs", content=content, headers={"content-type": content_type})
    assert answer.status_code == 422
