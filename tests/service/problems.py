"""Problem documents: what every refusal answers."""

import json
from typing import Any

import httpx


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Assert that a response is a complete problem document of this status and code, and return it."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = json.loads(answer.read())
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["cache-control"] == "no-store"
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{code}"
    assert problem["title"]
    assert problem["detail"].endswith((".", ")"))
    return problem
