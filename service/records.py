"""Finding a record, or saying why there is none; and the two writes that span volume and Redis."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from redis.exceptions import RedisError

from contract.durable import LACKS, remove_durably, replace_durably, sync_directory, write_json
from contract.errors import ErrorCode, ServiceError
from contract.identifiers import DATASET_PATTERN, JOB_PATTERN
from contract.keys import RecordKind
from contract.store import Command, ForgetOutcome, SubmitOutcome
from contract.withdrawal import withdraw
from service.errors import being_rebuilt, of_another_version
from service.gateway import Gateway
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
    """The record.

    Raises:
        ServiceError: it was never there, was deleted, cannot be read, or the records are being rebuilt.
    """
    if re.fullmatch(_PATTERN[kind], record_id):  # before an id becomes a path
        standing = await gateway.store.find(kind, record_id)
        if standing is not None:
            return standing
        await _refuse_missing(gateway, kind, record_id)
    detail = f"There is no {kind} {record_id[:100]!r}; GET /{kind}s lists those that exist."
    raise ServiceError(_NOT_FOUND[kind], detail)


async def show(gateway: Gateway, kind: RecordKind, record_id: str, view: Callable[[Standing], T]) -> T:
    """A view of the record. Raises what `find` does."""
    standing = await find(gateway, kind, record_id)
    try:
        return view(standing)
    except ValidationError as error:  # of its spec
        raise of_another_version(kind, record_id) from error


async def _refuse_missing(gateway: Gateway, kind: RecordKind, record_id: str) -> None:
    if await asyncio.to_thread(gateway.volume.tombstone(record_id).exists):
        raise ServiceError(ErrorCode.RECORD_DELETED, f"The {kind} {record_id} was deleted.")
    await require_rebuilt(gateway)
    if await gateway.store.is_left_out(record_id):
        detail = (
            f"The {kind} {record_id} has not been restored since Redis was emptied: one of its files on"
            " the volume cannot be read. The workers' logs say which. Restore that file from a backup; the"
            " service tries again within a minute."
        )
        raise ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_LEFT_OUT_RETRY_SECONDS)


async def require_all_back(gateway: Gateway, what_for: str) -> None:
    """Raise while records are left out, for what any of them may have to do with."""
    if left_out := await gateway.store.left_out():
        detail = (
            f"{', '.join(left_out[:5])}{' and more' * (len(left_out) > 5)} could not be read when Redis was"
            f" emptied, and {what_for}. The workers' logs say which files to restore from a backup; or remove"
            " the directories of these records from the volume."
        )
        raise ServiceError(ErrorCode.STORE_UNAVAILABLE, detail, retry_after_seconds=_LEFT_OUT_RETRY_SECONDS)


async def require_rebuilt(gateway: Gateway) -> None:
    """Raise unless the records stand: what is not there may still come back from the volume."""
    if not await gateway.store.is_rebuilt():
        raise being_rebuilt()


@asynccontextmanager
async def new_home(gateway: Gateway, record_id: str) -> AsyncIterator[None]:
    """A block that puts a new record's files onto the volume; if it breaks off, none of them stay."""
    async with AsyncExitStack() as undo:
        undo.push_async_callback(remove_home, gateway, record_id)
        yield
        undo.pop_all()


async def submit(
    gateway: Gateway, kind: RecordKind, record_id: str, command: Command[tuple[SubmitOutcome, str]]
) -> tuple[SubmitOutcome, str]:
    """Queue what already lies on the volume. What is refused leaves the volume again.

    Of two homes of one request, where a gateway was killed, a rebuild keeps the one that is marked as queued.
    """
    await asyncio.to_thread(sync_directory, gateway.volume.home(record_id).parent)
    try:
        outcome = await gateway.store.run(command)
    except RedisError:
        gateway.later(_settle(gateway, kind, record_id))
        raise
    if outcome[0] in ("unusable", "known", "rebuilding"):
        await remove_home(gateway, record_id)
    elif outcome[0] == "submitted":
        with contextlib.suppress(OSError):  # it is queued, and its first event will say so, too
            await asyncio.to_thread(replace_durably, gateway.volume.queued(record_id), b"")
    return outcome


async def _settle(gateway: Gateway, kind: RecordKind, record_id: str) -> None:
    """Redis broke off before it said whether it took the record: once it is back, it has or never will."""

    async def attempt() -> bool:
        if await gateway.store.run(withdraw(kind, record_id)):
            await remove_home(gateway, record_id)
        return True

    await until_settled(attempt)


async def remove_home(gateway: Gateway, record_id: str) -> None:
    """Remove what lies on the volume, off the loop."""
    await asyncio.to_thread(discard, gateway.volume, record_id)


async def delete(
    gateway: Gateway, kind: RecordKind, standing: Standing, command: Command[tuple[ForgetOutcome, str]]
) -> tuple[ForgetOutcome, str]:
    """Forget a record and remove its data, unless the script refuses.

    The tombstone comes first: when the record is gone, a rebuild does not bring it back. Where Redis breaks
    off before it said so, the tombstone goes again at once, since a rebuild would lose a record that stands.

    Raises:
        ServiceError: the records are being rebuilt, or some could not be; who uses this one is not known.
    """
    record_id = standing.record.id
    if kind is RecordKind.DATASET:
        await require_all_back(gateway, f"may use {record_id}")
    tombstone = gateway.volume.tombstone(record_id)
    async with gateway.lock(record_id):
        await _bury(gateway, standing)
        try:
            outcome = await gateway.store.run(command)
        except (RedisError, asyncio.CancelledError):
            await asyncio.to_thread(remove_durably, tombstone)
            gateway.later(_settle_deletion(gateway, kind, standing))
            raise
        gateway.remembered.forget()
        if outcome[0] in ("forgotten", "missing"):
            await remove_home(gateway, record_id)
        else:
            await asyncio.to_thread(remove_durably, tombstone)
    if outcome[0] == "rebuilding":
        raise being_rebuilt()
    return outcome


async def _settle_deletion(gateway: Gateway, kind: RecordKind, standing: Standing) -> None:
    """Redis broke off before it said whether it forgot the record: ask when it is back.

    Where it comes back empty, the record comes back from the volume.
    """
    record_id = standing.record.id

    async def attempt() -> bool:
        async with gateway.lock(record_id):
            if not await gateway.store.exists(kind, record_id) and await gateway.store.is_rebuilt():
                await _bury(gateway, standing)
                await remove_home(gateway, record_id)
        return True

    await until_settled(attempt)


async def _bury(gateway: Gateway, standing: Standing) -> None:
    record_id = standing.record.id
    tombstone = {"id": record_id, "deleted_ms": standing.now_ms}
    await asyncio.to_thread(_raise_tombstone, gateway.volume.tombstone(record_id), tombstone)


def _raise_tombstone(path: Path, tombstone: dict[str, object]) -> None:
    """A volume that is full to the last byte must be emptied: there, an empty file has to do."""
    try:
        write_json(path, tombstone)
    except OSError as error:
        if LACKS.get(error.errno) != "volume_full":
            raise
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        sync_directory(path.parent)
