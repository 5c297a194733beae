"""Refusals, with a stable code and a sentence that says what to do. Independent of HTTP."""

from dataclasses import dataclass
from enum import StrEnum

from contract.plugin import Frozen


class ErrorCode(StrEnum):
    """Stable names of refusals; `service/problems.py` gives each its status and title."""

    INVALID_REQUEST = "invalid_request"
    NOT_HTTP = "not_http"
    NOT_A_ZIP = "not_a_zip"
    NO_IMAGES = "no_images"
    ARCHIVE_TOO_LARGE = "archive_too_large"
    BODY_TOO_LARGE = "body_too_large"
    HEADERS_TOO_LARGE = "headers_too_large"
    BODY_EMPTY = "body_empty"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    NOT_ACCEPTABLE = "not_acceptable"
    RANGE_NOT_SATISFIABLE = "range_not_satisfiable"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    DATASET_NOT_FOUND = "dataset_not_found"
    DATASET_NOT_READY = "dataset_not_ready"
    DATASET_IN_USE = "dataset_in_use"
    JOB_NOT_FOUND = "job_not_found"
    JOB_STATE_CONFLICT = "job_state_conflict"
    JOB_IN_USE = "job_in_use"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    MODEL_NOT_FOUND = "model_not_found"
    NO_MODEL_YET = "no_model_yet"
    ALIAS_READ_ONLY = "alias_read_only"
    NOT_A_PNG = "not_a_png"
    NO_RECIPE = "no_recipe"
    PRECONDITION_FAILED = "precondition_failed"
    NOTHING_BEFORE = "nothing_before"
    PREVIEW_NOT_FOUND = "preview_not_found"
    CHECKPOINT_UNREADABLE = "checkpoint_unreadable"
    NOT_A_CHECKPOINT = "not_a_checkpoint"
    IMPORTS_FULL = "imports_full"
    MODEL_IN_USE = "model_in_use"
    EXPORT_UNAVAILABLE = "export_unavailable"
    WORKSHOP_FAILED = "workshop_failed"
    FOREIGN_HOST = "foreign_host"
    FOREIGN_ORIGIN = "foreign_origin"
    NO_SAMPLER = "no_sampler"
    SAMPLER_BUSY = "sampler_busy"
    SAMPLER_TIMEOUT = "sampler_timeout"
    NO_TRAINER = "no_trainer"
    TRAINER_BUSY = "trainer_busy"
    TRAINER_TIMEOUT = "trainer_timeout"
    ESTIMATE_FAILED = "estimate_failed"
    STORE_UNAVAILABLE = "store_unavailable"
    STORE_FULL = "store_full"
    INSUFFICIENT_MEMORY = "insufficient_memory"
    FEATURES_UNAVAILABLE = "features_unavailable"
    VOLUME_FULL = "volume_full"
    VOLUME_READ_ONLY = "volume_read_only"
    VOLUME_FAILING = "volume_failing"
    SHUTTING_DOWN = "shutting_down"
    RECORD_DELETED = "record_deleted"
    INTERNAL = "internal"


@dataclass(frozen=True)
class FieldError:
    """One field that was refused: a JSON pointer (RFC 6901) or a parameter's name, and why."""

    pointer: str
    detail: str


class ServiceError(Exception):
    """A refusal that a client can act on. `detail` names the value, what was allowed and what to do.

    `current` is the current state, if the request was made for an outdated one.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        fields: tuple[FieldError, ...] = (),
        retry_after_seconds: float | None = None,
        current: Frozen | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields
        self.retry_after_seconds = retry_after_seconds
        self.current = current

    def pointing_at(self, fields: tuple[FieldError, ...]) -> "ServiceError":
        """The same refusal, of these fields."""
        return ServiceError(
            self.code,
            self.detail,
            fields=fields,
            retry_after_seconds=self.retry_after_seconds,
            current=self.current,
        )
