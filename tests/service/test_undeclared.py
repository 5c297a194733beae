"""What a route does not know is refused, not ignored."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from contract.errors import ErrorCode
from service.app import create_app
from service.settings import Settings

Refused = Callable[..., dict[str, Any]]
OPERATIONS = [
    (method, path)
    for path, operations in create_app(Settings()).openapi()["paths"].items()
    for method in operations
]
PARAMETERS = [
    parameter
    for operations in create_app(Settings()).openapi()["paths"].values()
    for operation in operations.values()
    for parameter in operation.get("parameters", ())
]
NOBODY = {"job_id": "job_0000000000000000", "dataset_id": "ds_0000000000000000", "images_seen": "1"}


def address(path: str) -> str:
    named = {**NOBODY, "reference": "nobody", "alias": "nobody", "code": ErrorCode.INTERNAL}
    return re.sub(r"{(\w+)}", lambda found: named[found[1]], path)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_parameter_that_it_does_not_have_is_refused_by_every_route(
    client: httpx.Client, refused: Refused, method: str, path: str
) -> None:
    answer = client.request(method, address(path), params={"nonsense": "2"})
    problem = refused(answer, 422, "invalid_request")
    assert "nonsense" in [error["pointer"] for error in problem["errors"]]


def test_no_parameter_is_a_list_so_that_each_can_come_once() -> None:
    assert PARAMETERS
    assert not [one["name"] for one in PARAMETERS if "array" in str(one["schema"])]


@pytest.mark.parametrize("address", ["/samples?seed=7&seed=8", "/jobs?limit=5&state=queued&limit=6"])
def test_a_parameter_that_comes_twice_is_refused(
    client: httpx.Client, refused: Refused, address: str
) -> None:
    problem = refused(client.get(address), 422, "invalid_request")
    (error,) = problem["errors"]
    assert error["pointer"] in ("seed", "limit")
    assert "is given 2 times" in error["detail"]


@pytest.mark.parametrize("path", ["/samples", "/jobs", "/livez"])
def test_parameters_that_are_far_too_many_are_one_error(
    client: httpx.Client, refused: Refused, path: str
) -> None:
    query = "&".join(f"n{number}=1" for number in range(5000))
    problem = refused(client.get(f"{path}?{query}"), 422, "invalid_request")
    assert len(problem["errors"]) == 1
    assert "5000 parameters" in problem["detail"]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_plain_request_is_not_refused_for_what_it_does_not_say(
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


def test_a_retry_that_is_to_be_estimated_trains_nothing(
    client: httpx.Client, refused: Refused, cancelled: str
) -> None:
    problem = refused(client.post(f"/jobs/{cancelled}/retry?dry_run=true"), 422, "invalid_request")
    assert (
        problem["errors"][0]["detail"] == "dry_run is not a known parameter; this address has no parameters."
    )
    assert jobs(client) == [cancelled]


def test_a_job_that_is_to_be_deleted_for_show_stays(
    client: httpx.Client, refused: Refused, cancelled: str
) -> None:
    refused(client.delete(f"/jobs/{cancelled}?dry_run=true"), 422, "invalid_request")
    assert client.get(f"/jobs/{cancelled}").status_code == 200


@pytest.mark.parametrize("content", [b'{"images": 5}', iter([b'{"images": 5}'])], ids=["told", "chunked"])
def test_a_body_that_would_be_ignored_is_refused(
    client: httpx.Client, refused: Refused, cancelled: str, content: Any
) -> None:
    answer = client.post(f"/jobs/{cancelled}/retry", content=content)
    assert "does not accept a body" in refused(answer, 422, "invalid_request")["detail"]
    assert jobs(client) == [cancelled]
    assert client.post(f"/jobs/{cancelled}/retry", content=b"").status_code == 202


def test_samples_of_a_body_take_no_parameters(client: httpx.Client, refused: Refused) -> None:
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
def test_a_body_of_more_fields_than_any_has_gets_one_error(
    client: httpx.Client, refused: Refused, route: tuple[str, str], body: Any
) -> None:
    problem = refused(client.request(*route, json=body), 422, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == [""]
    assert "more than 256 fields" in problem["detail"]


@pytest.mark.parametrize("term", [{}, 0, [[]], "r3"])
def test_of_a_list_that_is_all_wrong_the_first_entry_is_told(
    client: httpx.Client, refused: Refused, term: Any
) -> None:
    body = {"dataset": NOBODY["dataset_id"], "terms": [term] * 1_000}
    problem = refused(client.post("/jobs", json=body), 422, "invalid_request")
    (error,) = problem["errors"]
    assert error["pointer"].startswith("/terms/0")


@pytest.mark.parametrize("content_type", ["text/json", "application/jsonish"])
@pytest.mark.parametrize("content", [b"{", b"[" * 50_000, b'{"a": 1}'])
def test_what_only_looks_like_json_is_refused_and_breaks_nothing(
    client: httpx.Client, content_type: str, content: bytes
) -> None:
    answer = client.post("/jobs", content=content, headers={"content-type": content_type})
    assert answer.status_code == 422
