"""Finds a record, or explains its absence; submits records across volume and Redis."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from pydantic import ValidationError
from redis.exceptions import RedisError

from contract.durable import replace_durably, sync_directory
from contract.errors import ErrorCode, ServiceError
from contract.identifiers import DATASET_PATTERN, JOB_PATTERN
from contract.keys import RecordKind
from contract.store import Command, SubmitOutcome
from contract.withdrawal import withdraw
from service.gateway import Gateway
from service.refusals import being_rebuilt, is_for_lack_of_memory, of_another_version, store_unavailable
from service.settling import until_settled
from service.store import Standing
from service.trash import discard

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
    standing = await find(gateway, kind, record_id)
    try:
        return view(standing)
    except ValidationError as error:  # of its spec
        raise of_another_version(kind, record_id) from error


async def _refuse_missing(gateway: Gateway, kind: RecordKind, record_id: str) -> None:
    if await asyncio.to_thread(gateway.volume.tombstone(record_id).exists):
        raise ServiceError(ErrorCode.RECORD_DELETED, f"The {kind} {record_id} was deleted.")
    await require_back(gateway, f"The {kind} {record_id}", record_id)


async def require_back(gateway: Gateway, what: str, name: str) -> None:
    """Raise while a missing record, alias or import may be restored: it is left out, or none is back yet."""
    await require_rebuilt(gateway)
    if await gateway.store.is_left_out(name):
        detail = (
            f"{what} has not been restored since Redis was emptied: one of its files on the volume cannot be"
            " read. The workers' logs say which. Restore that file from a backup; the service tries again"
            " within a minute."
        )
        raise ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_LEFT_OUT_RETRY_SECONDS)


async def require_all_back(gateway: Gateway, concerns: Callable[[str], bool], what_for: str) -> None:
    """Raise while any record or alias is left out that the operation might concern, by its name."""
    await require_rebuilt(gateway)
    if left_out := list(filter(concerns, await gateway.store.left_out())):
        detail = (
            f"{', '.join(left_out[:5])}{' and more' * (len(left_out) > 5)} could not be read when Redis was"
            f" emptied, and {what_for}. The workers' logs say which files to restore from a backup; or remove"
            " what is left of them from the volume."
        )
        raise ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_LEFT_OUT_RETRY_SECONDS)


async def require_rebuilt(gateway: Gateway) -> None:
    """Raise unless the records are rebuilt: a missing one may still be restored from the volume."""
    if not await gateway.store.is_rebuilt():
        raise being_rebuilt()


@asynccontextmanager
async def new_home(gateway: Gateway, record_id: str) -> AsyncIterator[None]:
    """Enclose the writing of a new record's files to the volume; if it fails, they are removed."""
    async with AsyncExitStack() as undo:
        undo.push_async_callback(remove_home, gateway, record_id)
        yield
        undo.pop_all()


async def submit(
    gateway: Gateway, kind: RecordKind, record_id: str, command: Command[tuple[SubmitOutcome, str]]
) -> tuple[SubmitOutcome, str]:
    """Queue a record whose files are on the volume already; if it is refused, remove them.

    If a killed gateway left two homes for one request, a rebuild keeps the one that is marked as queued.

    Raises:
        ServiceError: `store_unavailable`; another gateway took it for abandoned (`service/never_queued.py`).
    """
    await asyncio.to_thread(sync_directory, gateway.volume.home(record_id).parent)
    try:
        outcome = await gateway.store.run(command)
    except RedisError as error:
        if await _is_refused(gateway, kind, record_id, error):
            await remove_home(gateway, record_id)
        else:
            gateway.later(_settle(gateway, kind, record_id))
        raise
    if outcome[0] in ("unusable", "known", "rebuilding", "withdrawn"):
        await remove_home(gateway, record_id)
    elif outcome[0] == "submitted":
        with contextlib.suppress(OSError):  # it is queued, and its first event will show that, too
            await asyncio.to_thread(replace_durably, gateway.volume.queued(record_id), b"")
    if outcome[0] == "withdrawn":
        raise store_unavailable("This took so long to write that another gateway has withdrawn it")
    return outcome


async def _is_refused(gateway: Gateway, kind: RecordKind, record_id: str, error: RedisError) -> bool:
    """Whether a full Redis has certainly not queued it: an earlier try, whose reply was lost, may have."""
    if not is_for_lack_of_memory(error):
        return False
    try:
        return not await gateway.store.exists(kind, record_id)
    except RedisError:
        return False


async def _settle(gateway: Gateway, kind: RecordKind, record_id: str) -> None:
    """Once Redis is back, remove a record whose submission it had not confirmed, unless it was queued."""

    async def attempt() -> bool:
        if await gateway.store.run(withdraw(kind, record_id)):
            await remove_home(gateway, record_id)
        return True

    await until_settled(attempt)


async def remove_home(gateway: Gateway, record_id: str) -> None:
    """Remove a record's files from the volume, off the event loop."""
    await asyncio.to_thread(discard, gateway.volume, record_id)
