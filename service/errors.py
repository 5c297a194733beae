"""Turns every error into a problem document (RFC 9457), and defines each code's HTTP status."""

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPMethod, HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from contract.durable import LACKS, Lack
from contract.errors import ErrorCode, FieldError, ServiceError
from contract.keys import RecordKind
from contract.plugin import Frozen
from service.validation import field_error

PROBLEM_JSON = "application/problem+json"
STORE_RETRY_SECONDS = 2.0
_UPGRADE_SECONDS = 60.0
_MOST_FIELDS = 32
"""Errors listed; a body that is wrong throughout would otherwise get an answer many times its own size."""
_LARGE_BODY_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class Meaning(NamedTuple):
    """What an error code means in HTTP."""

    status: int
    title: str
    retryable: bool = False


MEANINGS: dict[ErrorCode, Meaning] = {
    ErrorCode.INVALID_REQUEST: Meaning(422, "The request is not valid"),
    ErrorCode.NOT_A_ZIP: Meaning(422, "The upload is not a zip archive"),
    ErrorCode.NO_IMAGES: Meaning(422, "The archive holds no images"),
    ErrorCode.ARCHIVE_TOO_LARGE: Meaning(422, "The archive is too large when unpacked"),
    ErrorCode.BODY_TOO_LARGE: Meaning(413, "The body is too large"),
    ErrorCode.BODY_EMPTY: Meaning(422, "The body is empty"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Meaning(415, "The body's media type is not supported"),
    ErrorCode.NOT_ACCEPTABLE: Meaning(406, "No representation is acceptable to the client"),
    ErrorCode.RANGE_NOT_SATISFIABLE: Meaning(416, "The file has nothing in this range"),
    ErrorCode.NOT_FOUND: Meaning(404, "There is nothing at this address"),
    ErrorCode.METHOD_NOT_ALLOWED: Meaning(405, "The method is not allowed here"),
    ErrorCode.DATASET_NOT_FOUND: Meaning(404, "No such dataset"),
    ErrorCode.DATASET_NOT_READY: Meaning(409, "The dataset is not ready", retryable=True),
    ErrorCode.DATASET_IN_USE: Meaning(409, "The dataset is in use"),
    ErrorCode.JOB_NOT_FOUND: Meaning(404, "No such job"),
    ErrorCode.JOB_STATE_CONFLICT: Meaning(409, "The job's state forbids this"),
    ErrorCode.JOB_IN_USE: Meaning(409, "The job is in use"),
    ErrorCode.IDEMPOTENCY_KEY_REUSED: Meaning(422, "The Idempotency-Key has been used for another request"),
    ErrorCode.MODEL_NOT_FOUND: Meaning(404, "No such model"),
    ErrorCode.NO_MODEL_YET: Meaning(404, "There is no model yet"),
    ErrorCode.ALIAS_READ_ONLY: Meaning(409, "The alias is automatic"),
    ErrorCode.NOT_A_PNG: Meaning(422, "The body is not a PNG"),
    ErrorCode.NO_RECIPE: Meaning(422, "The PNG does not say what made it"),
    ErrorCode.PRECONDITION_FAILED: Meaning(412, "It is not in the state that the request requires"),
    ErrorCode.NOTHING_BEFORE: Meaning(409, "There is nothing to go back to"),
    ErrorCode.PREVIEW_NOT_FOUND: Meaning(404, "No such preview"),
    ErrorCode.CHECKPOINT_UNREADABLE: Meaning(500, "The checkpoint cannot be read"),
    ErrorCode.NOT_A_CHECKPOINT: Meaning(422, "The file is not a checkpoint of this service"),
    ErrorCode.IMPORTS_FULL: Meaning(507, "There is no room for more imported generators"),
    ErrorCode.MODEL_IN_USE: Meaning(409, "The model is in use"),
    ErrorCode.EXPORT_UNAVAILABLE: Meaning(501, "The format is not installed"),
    ErrorCode.WORKSHOP_FAILED: Meaning(500, "The trainer could not do it", retryable=True),
    ErrorCode.FOREIGN_HOST: Meaning(403, "The Host is not allowed"),
    ErrorCode.FOREIGN_ORIGIN: Meaning(403, "The Origin is not allowed"),
    ErrorCode.NO_SAMPLER: Meaning(503, "No sampler is running", retryable=True),
    ErrorCode.SAMPLER_BUSY: Meaning(503, "The samplers are busy", retryable=True),
    ErrorCode.SAMPLER_TIMEOUT: Meaning(504, "No sampler answered in time", retryable=True),
    ErrorCode.NO_TRAINER: Meaning(503, "No trainer is running", retryable=True),
    ErrorCode.TRAINER_BUSY: Meaning(503, "The trainers are busy", retryable=True),
    ErrorCode.TRAINER_TIMEOUT: Meaning(504, "No trainer answered in time", retryable=True),
    ErrorCode.ESTIMATE_FAILED: Meaning(500, "The estimate could not be made", retryable=True),
    ErrorCode.STORE_UNAVAILABLE: Meaning(503, "The record store is unavailable", retryable=True),
    ErrorCode.INSUFFICIENT_MEMORY: Meaning(507, "The run does not fit into memory"),
    ErrorCode.INSUFFICIENT_DEVICES: Meaning(507, "The trainer has fewer GPUs than its settings say"),
    ErrorCode.FEATURES_UNAVAILABLE: Meaning(507, "The features for the evaluation are not installed"),
    ErrorCode.VOLUME_FULL: Meaning(507, "The volume is full", retryable=True),
    ErrorCode.VOLUME_READ_ONLY: Meaning(507, "The volume is read-only", retryable=True),
    ErrorCode.RECORD_DELETED: Meaning(410, "It was deleted"),
    ErrorCode.INTERNAL: Meaning(500, "The service failed"),
}

_REFUSED_BY_VOLUME: dict[Lack | None, tuple[ErrorCode, str]] = {
    "volume_full": (
        ErrorCode.VOLUME_FULL,
        "No space is left on the volume; delete jobs or datasets, or make the volume larger.",
    ),
    "volume_read_only": (
        ErrorCode.VOLUME_READ_ONLY,
        "The volume cannot be written; make it writable for the service, then try again.",
    ),
}

_CODE_OF_STATUS = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.BODY_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}


class ProblemField(Frozen):
    """One field that was refused."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body, or a parameter's name.")
    detail: str


class Problem(Frozen):
    """A problem document, as in RFC 9457."""

    type: str = Field(description="Stable, and itself an address: GET it to read what the code means.")
    title: str
    status: int
    code: ErrorCode
    detail: str = Field(description="What is wrong, what is allowed and what to do.")
    retryable: bool = Field(description="Whether the same request may succeed later, unchanged.")
    errors: tuple[ProblemField, ...] = ()
    current: dict[str, Any] | None = Field(
        None, description="With `precondition_failed`: what there is now, if there is anything."
    )


def problem_type(code: ErrorCode) -> str:
    """The stable `type` of a code, relative to this service."""
    return f"/problems/{code}"


def problem(error: ServiceError) -> Problem:
    """Build the problem document of an error."""
    meaning = MEANINGS[error.code]
    return Problem(
        type=problem_type(error.code),
        title=meaning.title,
        status=meaning.status,
        code=error.code,
        detail=error.detail,
        retryable=meaning.retryable,
        errors=tuple(ProblemField(pointer=field.pointer, detail=field.detail) for field in error.fields),
        current=error.current.model_dump(mode="json") if error.current else None,
    )


def problem_response(error: ServiceError, request: Request) -> Response:
    """Build the HTTP response to an error."""
    document = problem(error)
    headers = {"Cache-Control": "no-store"}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    if _may_have_unread_body(request):
        headers["Connection"] = "close"  # else the client keeps sending a body that nobody reads
    unsaid = {"current"} if document.current is None else None
    return Response(document.model_dump_json(exclude=unsaid), document.status, headers, PROBLEM_JSON)


def _may_have_unread_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or declared_length(request) > _LARGE_BODY_BYTES


def declared_length(request: Request) -> int:
    """The Content-Length; 0 when there is none."""
    length = request.headers.get("content-length", "")
    return int(length[:20]) if length.isdecimal() else 0


def install(app: FastAPI) -> None:
    """Register handlers that turn every exception into a problem document."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def response_to(error: Exception, request: Request) -> Response:
    """Build the response to an exception, for code that bypasses the app's exception handlers."""
    kind = next(kind for kind in type(error).__mro__ if kind in _HANDLERS)
    if kind is Exception:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
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
    fields = tuple(field_error(one, error.body) for one in found[:_MOST_FIELDS])
    detail = fields[0].detail + (f" ({len(fields) - 1} more in errors.)" if len(fields) > 1 else "")
    if len(found) > len(fields):
        detail += f" {len(found) - len(fields):,} others are not listed."
    return problem_response(ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=fields), request)


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
        return "The body cannot be read; send a JSON object in UTF-8."
    if error.detail != HTTPStatus(error.status_code).phrase:
        return error.detail
    path = request.url.path[:200]
    if error.status_code == 405:
        return f"{path} does not support {request.method}; use {headers['Allow']}."
    return f"There is nothing at {path}; /docs lists all addresses."


async def _store_away(request: Request, error: Exception) -> Response:
    log.warning("the record store does not answer: %s", error)
    return problem_response(store_unavailable("The record store does not answer"), request)


def store_unavailable(what: str) -> ServiceError:
    """Redis is unreachable, or its records are not restored yet: nothing was changed, try again."""
    return ServiceError(
        ErrorCode.STORE_UNAVAILABLE,
        f"{what}; jobs and their data are safe on the volume. Try again in a moment.",
        retry_after_seconds=STORE_RETRY_SECONDS,
    )


def being_rebuilt() -> ServiceError:
    """The records are being rebuilt, so it is not known yet what exists and what is in use."""
    return store_unavailable("Redis was emptied and the records are being rebuilt from the volume")


def of_another_version(kind: RecordKind, record_id: str) -> ServiceError:
    """The record exists, but another version wrote it, with content that this version does not know."""
    detail = (
        f"The {kind} {record_id} exists, but this version of the service cannot read its record: another"
        " version wrote it. Start a gateway of that version or a newer one, and try again."
    )
    return ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_UPGRADE_SECONDS)


async def _client_left(request: Request, _error: Exception) -> Response:
    return problem_response(
        ServiceError(ErrorCode.INVALID_REQUEST, "The body ended early; send it again."), request
    )


async def _system(request: Request, error: Exception) -> Response:
    lack = LACKS.get(error.errno) if isinstance(error, OSError) else None
    if refused := _REFUSED_BY_VOLUME.get(lack):
        return problem_response(ServiceError(*refused), request)
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return await _internal(request, error)


async def _internal(request: Request, _error: Exception) -> Response:
    detail = "Internal error; the gateway's log has the details. Try again, and report it if it persists."
    return problem_response(ServiceError(ErrorCode.INTERNAL, detail), request)


def parameter_error(name: str, detail: str) -> ServiceError:
    """`invalid_request` for a parameter or field that was parsed, but is not acceptable."""
    return ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=(FieldError(name, detail),))


_HANDLERS: Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    ServiceError: _refused,
    RequestValidationError: _invalid,
    HTTPException: _http,
    RedisError: _store_away,
    ClientDisconnect: _client_left,
    OSError: _system,
    Exception: _internal,
}
