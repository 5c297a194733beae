"""The OpenAPI document is complete, and documents every refusal."""

import json
import re
from typing import Any

import httpx
import pytest

from contract.errors import ErrorCode
from service.app import create_app
from service.problems import MEANINGS
from service.settings import Settings
from tests.service.document import openapi
from tests.service.problems import refused

DOCUMENT = openapi()
OPERATIONS = [
    (f"{method} {path}", operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
OUTSIDE_OF_ROUTES = {
    ErrorCode.METHOD_NOT_ALLOWED,
    ErrorCode.HEADERS_TOO_LARGE,
    ErrorCode.NOT_HTTP,
    ErrorCode.SHUTTING_DOWN,
    ErrorCode.FEATURES_UNAVAILABLE,  # an error of jobs, not of requests
}


def codes(operation: Any) -> set[str]:
    """The error codes that an operation documents with problem documents."""
    contents = (response.get("content", {}) for response in operation["responses"].values())
    return {
        code
        for content in contents
        for code in content.get("application/problem+json", {}).get("examples", {})
    }


@pytest.mark.parametrize("operation", [pytest.param(found, id=name) for name, found in OPERATIONS])
def test_an_operation_is_described(operation: Any) -> None:
    assert operation["summary"]
    assert operation["description"]
    assert operation["operationId"]
    assert operation["tags"]
    assert all(parameter.get("description") for parameter in operation.get("parameters", []))


@pytest.mark.parametrize("operation", [pytest.param(found, id=name) for name, found in OPERATIONS])
def test_operation_documents_its_refusals_as_problem_documents(operation: Any) -> None:
    for status, response in operation["responses"].items():
        if status >= "400" and not (operation["operationId"] == "getReadiness" and status == "503"):
            assert list(response["content"]) == ["application/problem+json"]
            for code, example in response["content"]["application/problem+json"]["examples"].items():
                assert example["value"]["code"] == code
                assert str(example["value"]["status"]) == status


@pytest.mark.parametrize("operation", [pytest.param(found, id=name) for name, found in OPERATIONS])
def test_operation_documents_what_is_checked_of_every_request(operation: Any) -> None:
    assert {"invalid_request", "foreign_host"} <= codes(operation)


@pytest.mark.parametrize(
    "operation", [pytest.param(found, id=name) for name, found in OPERATIONS if "requestBody" in found]
)
def test_operation_with_a_body_documents_that_foreign_pages_are_refused(operation: Any) -> None:
    assert {"foreign_origin", "foreign_host", "internal", "store_unavailable"} <= codes(operation)


def test_exactly_the_uploads_are_exempt_from_the_limit_of_json() -> None:
    uploads = {
        name.partition(" ")[2]
        for name, operation in OPERATIONS
        if "requestBody" in operation and "application/json" not in operation["requestBody"]["content"]
    }
    around = create_app(Settings()).user_middleware
    exempt: list[Any] = [one.kwargs["upload_paths"] for one in around if "upload_paths" in one.kwargs]
    assert [set(paths) for paths in exempt] == [uploads]


def test_json_of_requests_and_responses_has_examples() -> None:
    for name in ("Job", "Dataset", "Checkpoint", "Model"):
        assert "examples" in json.dumps(DOCUMENT["components"]["schemas"][name])
    for _, operation in OPERATIONS:
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert body is None or "example" in json.dumps(body)


def test_error_of_a_job_is_a_code_and_a_sentence() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    (reference,) = (one["$ref"] for one in schemas["Job"]["properties"]["error"]["anyOf"] if "$ref" in one)
    assert set(schemas[reference.rpartition("/")[2]]["properties"]) == {"code", "detail"}


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, operation in OPERATIONS]
    assert len(ids) == len(set(ids))


def test_every_reference_resolves() -> None:
    def references(node: Any) -> Any:
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            node = list(node.values())
        for child in node if isinstance(node, list) else ():
            yield from references(child)

    for reference in set(references(DOCUMENT)):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def test_every_error_code_has_a_status_and_a_route_that_documents_it() -> None:
    assert set(MEANINGS) == set(ErrorCode)
    documented = set().union(*(codes(operation) for _, operation in OPERATIONS))
    assert documented == set(ErrorCode) - OUTSIDE_OF_ROUTES


@pytest.mark.parametrize("code", list(ErrorCode))
def test_type_of_a_problem_resolves_to_its_description(client: httpx.Client, code: ErrorCode) -> None:
    kind = client.get(f"/problems/{code}").json()
    assert (kind["code"], kind["status"]) == (code, MEANINGS[code].status)
    assert kind in client.get("/problems").json()


def test_an_unknown_address_and_method_are_problems(client: httpx.Client) -> None:
    for address in ("/nowhere", "/samples/?seed=7", "/docs/"):
        refused(client.get(address), 404, "not_found")
    for path, method, allowed in (
        ("/jobs", "PUT", "GET, HEAD, POST"),
        ("/samples", "PUT", "GET, HEAD, POST"),
        ("/samples?seed=1", "PUT", "GET, HEAD, POST"),
        ("/models/live", "PATCH", "DELETE, GET, HEAD, PUT"),
    ):
        answer = client.request(method, path)
        assert allowed in refused(answer, 405, "method_not_allowed")["detail"]
        assert answer.headers["allow"] == allowed
    assert client.head("/jobs/job_0000000000000000/retry").headers["allow"] == "POST"


def test_the_document_is_served(client: httpx.Client) -> None:
    assert client.get("/openapi.json").json() == DOCUMENT


def test_docs_page_loads_everything_from_the_gateway(client: httpx.Client) -> None:
    page = client.get("/docs").raise_for_status()
    asked_for = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert len(asked_for) == 3
    for address in asked_for:
        assert address.startswith("/")
        assert client.get(address).raise_for_status().content
    answer = client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")


def test_webhook_messages_are_documented() -> None:
    told = DOCUMENT["webhooks"]["jobEnded"]["post"]
    assert {parameter["name"] for parameter in told["parameters"]} == {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }
    assert "422" not in told["responses"]
    assert DOCUMENT["components"]["schemas"]["Message"]["properties"]["data"]
