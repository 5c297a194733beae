"""Refusals that several routes share, worded once."""

from collections.abc import Sequence

from redis.exceptions import OutOfMemoryError, RedisError

from contract.errors import ErrorCode, FieldError, ServiceError
from contract.keys import RecordKind

MOST_FIELDS = 32
"""Errors listed; a body that is wrong throughout would otherwise get an answer many times its own size."""
_STORE_RETRY_SECONDS = 2.0
_UPGRADE_SECONDS = 60.0


def parameter_error(name: str, detail: str) -> ServiceError:
    """`invalid_request` for a parameter or field that was parsed, but is not acceptable."""
    return ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=(FieldError(name, detail),))


def fields_error(listed: Sequence[FieldError], count: int) -> ServiceError:
    """`invalid_request` for `count` wrong fields, of which the first `MOST_FIELDS` are listed."""
    detail = listed[0].detail + (f" ({len(listed) - 1} more in errors.)" if len(listed) > 1 else "")
    if unlisted := count - len(listed):
        detail += f" {unlisted:,} {'others are' if unlisted > 1 else 'other is'} not listed."
    return ServiceError(ErrorCode.INVALID_REQUEST, detail, fields=tuple(listed))


def store_unavailable(what: str) -> ServiceError:
    """Redis is unreachable, or its records are not restored yet: nothing was changed, try again."""
    return ServiceError(
        ErrorCode.STORE_UNAVAILABLE,
        f"{what}; jobs and their data are safe on the volume. Try again in a moment.",
        retry_after_seconds=_STORE_RETRY_SECONDS,
    )


def is_for_lack_of_memory(error: RedisError) -> bool:
    """Whether a Redis at its maxmemory refused to do this; it has then changed nothing.

    Redis 6 reports this as an error of the script, which quotes the reply to the command.
    """
    return isinstance(error, OutOfMemoryError) or "-OOM command not allowed" in str(error)


def refused_by_redis(error: RedisError) -> ServiceError:
    """`store_full`, or for all other failures `store_unavailable`."""
    if is_for_lack_of_memory(error):
        detail = "The record store (Redis) is full; delete jobs that have ended, or raise its maxmemory."
        return ServiceError(ErrorCode.STORE_FULL, detail)
    return store_unavailable("The record store (Redis) does not answer")


def being_rebuilt() -> ServiceError:
    """The records are being rebuilt, so it is not known yet what exists and what is in use."""
    return store_unavailable("Redis was emptied and the records are being rebuilt from the volume")


def being_deleted(what: str) -> ServiceError:
    """Redis has forgotten it, but that is not on the volume yet: if Redis is emptied now, it is restored."""
    detail = f"{what} is being deleted. Try again in a moment."
    return ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_STORE_RETRY_SECONDS)


def of_another_version(kind: RecordKind, record_id: str) -> ServiceError:
    """The record exists, but another version wrote it, with content that this version does not know."""
    detail = (
        f"The {kind} {record_id} exists, but this version of the service cannot read its record: another"
        " version wrote it. Start a gateway of that version or a newer one, and try again."
    )
    return ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_UPGRADE_SECONDS)


def unreadable_events(job_id: str, error: OSError) -> ServiceError:
    """The job's older events, which only the volume has, cannot be read at present."""
    detail = (
        f"The older events of {job_id} cannot be read from the volume ({error.strerror}); try again in a"
        " moment, and see to the volume if it persists."
    )
    return ServiceError(ErrorCode.VOLUME_FAILING, detail, retry_after_seconds=_STORE_RETRY_SECONDS)
