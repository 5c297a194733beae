"""Problem documents (RFC 9457), and the HTTP status and title of each error code."""

import math
from typing import Any, NamedTuple

from fastapi import Request
from pydantic import Field
from starlette.responses import Response

from contract.errors import ErrorCode, ServiceError
from contract.plugin import Frozen
from service.body_length import declared_length

PROBLEM_JSON = "application/problem+json"
_LARGE_BODY_BYTES = 64 * 1024


class Meaning(NamedTuple):
    """What an error code means in HTTP."""

    status: int
    title: str
    retryable: bool = False


MEANINGS: dict[ErrorCode, Meaning] = {
    ErrorCode.INVALID_REQUEST: Meaning(422, "The request is not valid"),
    ErrorCode.NOT_HTTP: Meaning(400, "The request is not well-formed HTTP"),
    ErrorCode.NOT_A_ZIP: Meaning(422, "The upload is not a zip archive"),
    ErrorCode.NO_IMAGES: Meaning(422, "The archive holds no images"),
    ErrorCode.ARCHIVE_TOO_LARGE: Meaning(422, "The archive is too large when unpacked"),
    ErrorCode.BODY_TOO_LARGE: Meaning(413, "The body is too large"),
    ErrorCode.HEADERS_TOO_LARGE: Meaning(431, "The headers are too large"),
    ErrorCode.BODY_EMPTY: Meaning(422, "The body is empty"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: Meaning(415, "The body's media type is not supported"),
    ErrorCode.NOT_ACCEPTABLE: Meaning(406, "No representation is acceptable to the client"),
    ErrorCode.RANGE_NOT_SATISFIABLE: Meaning(416, "The file has nothing in this range"),
    ErrorCode.NOT_FOUND: Meaning(404, "There is nothing at this address"),
    ErrorCode.METHOD_NOT_ALLOWED: Meaning(405, "The method is not allowed here"),
    ErrorCode.DATASET_NOT_FOUND: Meaning(404, "No such dataset"),
    ErrorCode.DATASET_NOT_READY: Meaning(409, "The dataset is not ready"),
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
    ErrorCode.IMPORTS_FULL: Meaning(507, "There is no room for more imported generators", retryable=True),
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
    ErrorCode.STORE_FULL: Meaning(507, "The record store is full", retryable=True),
    ErrorCode.INSUFFICIENT_MEMORY: Meaning(507, "It does not fit into memory"),
    ErrorCode.FEATURES_UNAVAILABLE: Meaning(507, "The features for the evaluation are not installed"),
    ErrorCode.VOLUME_FULL: Meaning(507, "The volume is full", retryable=True),
    ErrorCode.VOLUME_READ_ONLY: Meaning(507, "The volume is read-only", retryable=True),
    ErrorCode.VOLUME_FAILING: Meaning(503, "The volume fails", retryable=True),
    ErrorCode.SHUTTING_DOWN: Meaning(503, "The service is shutting down", retryable=True),
    ErrorCode.RECORD_DELETED: Meaning(410, "It was deleted"),
    ErrorCode.INTERNAL: Meaning(500, "The service failed"),
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
    retryable: bool = Field(
        description="Whether to repeat the same request, unchanged: after `Retry-After`, or after a while."
    )
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
        retryable=meaning.retryable or error.retry_after_seconds is not None,
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
