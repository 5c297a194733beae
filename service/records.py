"""Finds a record, or explains its absence."""

import re
from collections.abc import Callable
from typing import TypeVar

from contract.errors import ErrorCode, ServiceError
from contract.identifiers import DATASET_PATTERN, JOB_PATTERN
from contract.keys import RecordKind
from service.gateway import Gateway
from service.refusals import being_deleted, being_rebuilt
from service.store import Standing
from service.views import viewed

T = TypeVar("T")
_LEFT_OUT_RETRY_SECONDS = 60.0
_PATTERN = {RecordKind.JOB: JOB_PATTERN, RecordKind.DATASET: DATASET_PATTERN}
_NOT_FOUND = {
    RecordKind.JOB: ErrorCode.JOB_NOT_FOUND,
    RecordKind.DATASET: ErrorCode.DATASET_NOT_FOUND,
}


async def find(gateway: Gateway, kind: RecordKind, record_id: str) -> Standing:
    """Return the record.

    Raises:
        ServiceError: it never existed, was deleted, cannot be read, or the records are being rebuilt.
    """
    if re.fullmatch(_PATTERN[kind], record_id):  # before an id becomes a path
        standing = await gateway.store.find(kind, record_id)
        if standing is not None:
            return standing
        await _refuse_missing(gateway, kind, record_id)
    detail = f"There is no {kind} {record_id[:100]!r}; GET /{kind}s lists those that exist."
    raise ServiceError(_NOT_FOUND[kind], detail)


async def show(gateway: Gateway, kind: RecordKind, record_id: str, view: Callable[[Standing], T]) -> T:
    """Return a view of the record. Raises like `find`."""
    return viewed(await find(gateway, kind, record_id), view)


async def _refuse_missing(gateway: Gateway, kind: RecordKind, record_id: str) -> None:
    what, volume = f"The {kind} {record_id}", gateway.volume
    await require_back(gateway, what, record_id)  # its deletion may be reverted until then
    is_pending = await gateway.on_volume(volume.pending_tombstone(record_id).exists)  # until it is renamed
    if await gateway.on_volume(volume.tombstone(record_id).exists):
        raise ServiceError(ErrorCode.RECORD_DELETED, f"{what} was deleted.")
    if is_pending:
        raise being_deleted(what)


async def require_back(gateway: Gateway, what: str, name: str) -> None:
    """Raise while a record, alias or import that was not found may be restored, or if it just has been."""
    if await is_back(gateway, what, name):
        raise being_rebuilt()


async def is_back(gateway: Gateway, what: str, name: str) -> bool:
    """Whether a record, alias or import that was not found exists by now. Raises while it may be restored."""
    existence = await gateway.store.existence(name)
    if existence == "left_out":
        detail = (
            f"{what} has not been restored since Redis was emptied: one of its files on the volume cannot be"
            " read, or its deletion was interrupted. The workers' logs say which. Restore that file from a"
            " backup; the service tries again within a minute."
        )
        raise ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_LEFT_OUT_RETRY_SECONDS)
    if existence == "rebuilding":
        raise being_rebuilt()
    return existence == "exists"


async def require_all_back(gateway: Gateway, concerns: Callable[[str], bool], what_for: str) -> str:
    """Return the epoch, in which nothing is left out that the operation might concern, by its name.

    Raises:
        ServiceError: some record or alias of that kind is, or the records are being rebuilt.
    """
    epoch = await require_rebuilt(gateway)
    if left_out := list(filter(concerns, await gateway.store.left_out())):
        detail = (
            f"{', '.join(left_out[:5])}{' and more' * (len(left_out) > 5)} could not be restored when Redis"
            f" was emptied, and {what_for}. The workers' logs say which files to restore from a backup; or"
            " remove what is left of them from the volume."
        )
        raise ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_LEFT_OUT_RETRY_SECONDS)
    return epoch


async def require_rebuilt(gateway: Gateway) -> str:
    """Return the epoch of the records; raise while a missing one may still be restored from the volume."""
    epoch = await gateway.store.epoch()
    if epoch is None:
        raise being_rebuilt()
    return epoch
