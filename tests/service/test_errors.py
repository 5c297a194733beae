"""Unforeseen exceptions become problem documents, and leak nothing."""

import asyncio
import errno

import httpx
import pytest
from fastapi import FastAPI, Request
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ResponseError

from contract.errors import ErrorCode, FieldError, ServiceError
from service.errors import install, response_to
from service.problems import ProblemField


def answer_to(error: Exception) -> httpx.Response:
    """The response that a client gets when a route raises this."""
    app = FastAPI()
    install(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/")

    return asyncio.run(get())


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/secret"), 507, "volume_full"),
        (OSError(errno.EDQUOT, "Quota exceeded", "/data/secret"), 507, "volume_full"),
        (OSError(errno.EROFS, "Read-only file system", "/data/secret"), 507, "volume_read_only"),
        (OSError(errno.EIO, "Input/output error", "/data/secret"), 503, "volume_failing"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out", "/data/secret"), 503, "volume_failing"),
        (BlockingIOError(errno.EAGAIN, "can't start new thread"), 503, "volume_failing"),
        (TimeoutError("secret"), 500, "internal"),
        (PermissionError(errno.EACCES, "secret", "/data/secret"), 500, "internal"),
        (BusyLoadingError("secret"), 503, "store_unavailable"),
        (OutOfMemoryError("secret"), 507, "store_full"),
        (
            ResponseError("secret: -OOM command not allowed when used memory > 'maxmemory'."),
            507,
            "store_full",
        ),
        (ResponseError("secret"), 503, "store_unavailable"),
        (RuntimeError("secret"), 500, "internal"),
        (AssertionError("secret"), 500, "internal"),
    ],
)
def test_exception_becomes_a_problem_document_without_secrets(
    error: Exception, status: int, code: str
) -> None:
    answer = answer_to(error)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    request = Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []})
    past_the_app = asyncio.run(response_to(error, request))
    assert (past_the_app.status_code, past_the_app.body) == (status, answer.content)
    assert dict(past_the_app.headers) == dict(answer.headers)


def test_failing_volume_is_logged_with_its_path(caplog: pytest.LogCaptureFixture) -> None:
    answer_to(OSError(errno.EIO, "Input/output error", "/data/models/x"))
    assert "Input/output error: '/data/models/x'" in caplog.text


def test_service_error_becomes_a_problem_document_with_fields_and_retry_after() -> None:
    fields = (FieldError("/a~1b/0", "a/b has to be even."),)
    error = ServiceError(ErrorCode.SAMPLER_BUSY, "Later.", fields=fields, retry_after_seconds=0.2)
    answer = answer_to(error)
    assert answer.json() == {
        "type": "/problems/sampler_busy",
        "title": "The samplers are busy",
        "status": 503,
        "code": "sampler_busy",
        "detail": "Later.",
        "retryable": True,
        "errors": [{"pointer": "/a~1b/0", "detail": "a/b has to be even."}],
    }
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(("seconds", "told"), [(0.0, "1"), (1.0, "1"), (1.2, "2"), (29.5, "30")])
def test_retry_after_is_rounded_up_to_whole_seconds(seconds: float, told: str) -> None:
    error = ServiceError(ErrorCode.SAMPLER_BUSY, "Later.", retry_after_seconds=seconds)
    assert answer_to(error).headers["retry-after"] == told


def test_refusal_that_points_at_fields_is_otherwise_the_same() -> None:
    current = ProblemField(pointer="any", detail="Any.")
    refusal = ServiceError(ErrorCode.SAMPLER_BUSY, "Later.", retry_after_seconds=2, current=current)
    fields = (FieldError("/dataset", "Later."),)
    assert vars(refusal.pointing_at(fields)) == {**vars(refusal), "fields": fields}
