"""Turns every exception into a problem document."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPMethod, HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from contract.durable import Lack, lack
from contract.errors import ErrorCode, ServiceError
from service.problems import problem_response
from service.refusals import MOST_FIELDS, fields_error, refused_by_redis
from service.validation import field_error

logger = logging.getLogger(__name__)

_REFUSED_BY_VOLUME: dict[Lack | None, tuple[ErrorCode, str]] = {
    "volume_full": (
        ErrorCode.VOLUME_FULL,
        "No space is left on the volume; delete jobs or datasets, or make the volume larger.",
    ),
    "volume_read_only": (
        ErrorCode.VOLUME_READ_ONLY,
        "The volume cannot be written; make it writable for the service, then try again.",
    ),
    "volume_failing": (
        ErrorCode.VOLUME_FAILING,
        "The volume fails; try again, and check the disk or its server if it persists.",
    ),
}

_NO_THREAD = (
    ErrorCode.VOLUME_FAILING,
    "The gateway can start no thread to use the volume; try again, and allow it more if it persists.",
)

_CODE_OF_STATUS = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.BODY_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}


def install(app: FastAPI) -> None:
    """Register handlers that turn every exception into a problem document."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def response_to(error: Exception, request: Request) -> Response:
    """Build the response to an exception, for code that bypasses the app's exception handlers."""
    kind = next(kind for kind in type(error).__mro__ if kind in _HANDLERS)
    if kind is Exception:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    response = await _HANDLERS[kind](request, error)
    error.__traceback__ = None  # its frames hold the task that holds it: break the reference cycle
    return response


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return problem_response(error, request)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if _is_body_of_other_type(request, error.errors()):
        sent = request.headers.get("content-type", "none")
        detail = f"The Content-Type is {sent[:100]}; send a JSON object as application/json."
        return problem_response(ServiceError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, detail), request)
    found = error.errors()
    fields = [field_error(one, error.body) for one in found[:MOST_FIELDS]]
    return problem_response(fields_error(fields, len(found)), request)


def _is_body_of_other_type(request: Request, errors: Iterable[Any]) -> bool:
    is_json = "json" in request.headers.get("content-type", "")
    has_body = request.headers.get("content-length", "0") != "0"
    return has_body and not is_json and any(error["loc"] == ("body",) for error in errors)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODE_OF_STATUS.get(error.status_code)
    if code is None:
        code = ErrorCode.INTERNAL if error.status_code >= 500 else ErrorCode.INVALID_REQUEST
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed(request)
    response = problem_response(ServiceError(code, _http_detail(request, error, headers)), request)
    response.headers.update(headers)
    return response


def _allowed(request: Request) -> str:
    """The methods of all routes at this path; the exception has only those of the first."""
    scopes = [{**request.scope, "method": method} for method in HTTPMethod]
    routes = request.app.routes
    return ", ".join(
        scope["method"] for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in routes)
    )


def _http_detail(request: Request, error: HTTPException, headers: Mapping[str, str]) -> str:
    if error.status_code == 400:
        return "The body cannot be read; send a JSON object in UTF-8, without numbers of thousands of digits."
    if error.detail != HTTPStatus(error.status_code).phrase:
        return error.detail
    path = request.url.path[:200]
    if error.status_code == 405:
        return f"{path} does not support {request.method}; use {headers['Allow']}."
    return f"There is nothing at {path}; /docs lists all addresses."


async def _store_away(request: Request, error: Exception) -> Response:
    assert isinstance(error, RedisError)
    logger.warning("the record store refuses, or does not answer: %s", error)
    return problem_response(refused_by_redis(error), request)


async def _client_left(request: Request, _error: Exception) -> Response:
    return problem_response(
        ServiceError(ErrorCode.INVALID_REQUEST, "The body ended early; send it again."), request
    )


async def _system(request: Request, error: Exception) -> Response:
    refused = _NO_THREAD if isinstance(error, BlockingIOError) else _REFUSED_BY_VOLUME.get(lack(error))
    if refused:
        logger.warning("%s %s: the volume cannot be used: %s", request.method, request.url.path, error)
        return problem_response(ServiceError(*refused), request)
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return await _internal(request, error)


async def _internal(request: Request, _error: Exception) -> Response:
    detail = "Internal error; the gateway's log has the details. Try again, and report it if it persists."
    return problem_response(ServiceError(ErrorCode.INTERNAL, detail), request)


_HANDLERS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    ServiceError: _refused,
    RequestValidationError: _invalid,
    HTTPException: _http,
    RedisError: _store_away,
    ClientDisconnect: _client_left,
    OSError: _system,
    Exception: _internal,
}
