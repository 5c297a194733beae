"""Queues records whose files are on the volume, and removes the files of those that never were queued."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from redis.exceptions import RedisError

from contract.command import Command
from contract.durable import replace_durably, sync_directory
from contract.identifiers import is_record_id, kind_of
from contract.submitting import Submitted, withdraw
from contract.volume import Volume, entries, is_gone
from service.gateway import Gateway
from service.refusals import is_for_lack_of_memory, store_unavailable
from service.settling import until_settled
from service.trash import discard

_IN_HAND_SECONDS = 60.0
"""How long it is watched first: it may be in progress at another gateway. Modification times may be wrong."""

_OF_A_SUBMISSION = ("submission.json", "spec.json", "original")

logger = logging.getLogger(__name__)


@asynccontextmanager
async def new_home(gateway: Gateway, record_id: str) -> AsyncIterator[None]:
    """Enclose the writing of a new record's files to the volume; if they may not last, they are removed."""
    gateway.on_volume.require()
    async with AsyncExitStack() as undo:
        undo.callback(_give_up, gateway, record_id)
        yield
        await gateway.on_volume(sync_directory, gateway.volume.home(record_id).parent)
        undo.pop_all()


async def submit(gateway: Gateway, record_id: str, command: Command[Submitted]) -> Submitted:
    """Queue a record whose files are on the volume already; if it is refused, remove them.

    If a killed gateway left two homes for one request, a rebuild keeps the one that is marked as queued.

    Raises:
        ServiceError: `store_unavailable`; another gateway took it for abandoned.
    """
    try:
        reply = await gateway.store.run(command)
    except RedisError as error:
        if await _is_refused(gateway, record_id, error):
            await _remove(gateway, record_id)
        else:
            _give_up(gateway, record_id)
        raise
    except asyncio.CancelledError:
        _give_up(gateway, record_id)
        raise
    if reply.outcome in ("unusable", "known", "withdrawn"):
        await _remove(gateway, record_id)
    elif reply.outcome == "rebuilding":
        _give_up(gateway, record_id)
    elif reply.outcome == "submitted":
        with contextlib.suppress(OSError):  # it is queued, and its first event will show that, too
            await gateway.on_volume(replace_durably, gateway.volume.queued(record_id), b"")
    if reply.outcome == "withdrawn":
        raise store_unavailable("This took so long to write that another gateway has withdrawn it")
    return reply


async def _is_refused(gateway: Gateway, record_id: str, error: RedisError) -> bool:
    """Whether a full Redis has certainly not queued it: an earlier try, whose reply was lost, may have."""
    if not is_for_lack_of_memory(error):
        return False
    try:
        return not await gateway.store.exists(kind_of(record_id), record_id)
    except RedisError:
        return False


async def _remove(gateway: Gateway, record_id: str) -> None:
    """Remove the files of what Redis has refused to queue, at once if the volume allows."""
    try:
        await gateway.on_volume(discard, gateway.volume, record_id)
    except OSError:
        _give_up(gateway, record_id)


def _give_up(gateway: Gateway, record_id: str) -> None:
    """Withdraw the task's submission, which may have been queued, as soon as Redis and the volume allow.

    It waits for what the task still writes. A submission without a spec was not queued, so it is removed
    whether Redis answers or not: both may lack its room.
    """
    unawaited = gateway.on_volume.unawaited()

    async def attempt() -> bool:
        if not all(call.done() for call in unawaited):
            return False
        if not await gateway.on_volume(_discard_incomplete, gateway.volume, record_id):
            await _withdraw(gateway, record_id, by_submitter=True)
        return True

    gateway.background.run(until_settled(attempt, OSError))


def _discard_incomplete(volume: Volume, record_id: str) -> bool:
    """Remove a home without a spec, which no rebuild restores. Returns whether it was one."""
    if is_incomplete := is_gone(volume.spec(record_id)):
        discard(volume, record_id)
    return is_incomplete


async def _withdraw(gateway: Gateway, record_id: str, *, by_submitter: bool) -> bool:
    """Withdraw a submission and remove its files, unless it was queued. Returns whether it was withdrawn.

    Withdrawn first, since a rebuild may have read it.
    """
    command = withdraw(kind_of(record_id), record_id, by_submitter=by_submitter)
    if is_withdrawn := await gateway.store.run(command):
        await gateway.on_volume(discard, gateway.volume, record_id)
    return is_withdrawn


async def settle(gateway: Gateway) -> None:
    """Withdraw what gateways left that were killed, or ended while Redis was away. Repeat until none is left.

    Each must look abandoned for a minute.
    """

    async def attempt() -> bool:
        homes = await gateway.on_volume(_abandoned, gateway.volume)
        if homes:
            await asyncio.sleep(_IN_HAND_SECONDS)
        return all([await _settle_abandoned(gateway, home) for home in homes])

    await until_settled(attempt, OSError)


async def _settle_abandoned(gateway: Gateway, home: Path) -> bool:
    """Withdraw it, unless it was queued. False: Redis may have been emptied, or the volume failed."""
    record_id = home.name
    if not await gateway.on_volume(_is_abandoned, home):
        return True
    with contextlib.suppress(OSError):  # it is tried again; the others are not kept waiting
        if await _withdraw(gateway, record_id, by_submitter=False):
            logger.warning("%s: removed, it was never queued, and no client was told of it", record_id)
            return True
    return await gateway.store.exists(kind_of(record_id), record_id)


def _abandoned(volume: Volume) -> list[Path]:
    homes = [*entries(volume.datasets), *entries(volume.jobs)]
    return [home for home in homes if is_record_id(home.name) and _is_abandoned(home)]


def _is_abandoned(home: Path) -> bool:
    """Whether it can be read and contains only what is written before it is queued, in whole or in part."""
    try:
        return all(path.name.lstrip(".").startswith(_OF_A_SUBMISSION) for path in home.iterdir())
    except OSError:
        return False
