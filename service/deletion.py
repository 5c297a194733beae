"""Deletes records and their files, and completes or reverts the deletions that were left half done.

A tombstone is pending until Redis has forgotten the record. If Redis is emptied before, the deletion is void,
since nobody knows any more whether it was allowed. Afterwards the record stays deleted, whatever is left of
its files. A rename makes the difference, for which also a full volume nearly always has room.
"""

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from contract.command import Command
from contract.durable import LACKS, publish_durably, remove_durably, sync_directory, write_json
from contract.forgetting import Forgotten, since
from contract.identifiers import is_alias, is_record_id, kind_of
from contract.keys import RecordKind
from contract.volume import Volume, entries
from service.gateway import Gateway
from service.records import require_all_back
from service.refusals import being_rebuilt
from service.settling import until_settled
from service.trash import discard

ROUND_SECONDS = 60.0
_IN_HAND_SECONDS = 60.0
"""A younger deletion may still be in progress at another gateway."""


async def delete(gateway: Gateway, record_id: str, command: Command[Forgotten]) -> Forgotten:
    """Delete a record and its data, unless the script refuses.

    A pending tombstone is raised first. If the script refuses, it is removed. If the outcome is unknown, it
    stays until a gateway, this one or another, has asked Redis.

    Raises:
        OSError: the record is gone, but its files are not, for now; or nothing was deleted.
        ServiceError: the records or aliases that may use it are being rebuilt, or some could not be.
    """
    if kind_of(record_id) is RecordKind.DATASET:
        epoch = await require_all_back(gateway, is_record_id, f"may use {record_id}")
    else:
        epoch = await require_all_back(gateway, is_alias, f"may be an alias of {record_id}")
    gateway.on_volume.require()
    async with gateway.lock(record_id), AsyncExitStack() as undo:
        settle = partial(_settle, gateway, record_id)
        undo.callback(gateway.background.settle, f"the deletion of {record_id}", settle, OSError)
        await _bury(gateway, record_id)
        reply = await gateway.store.run(since(epoch, command))
        if reply.outcome in ("forgotten", "missing"):
            gateway.remembered.forget()
            await gateway.on_volume(_complete, gateway.volume, record_id)
            undo.pop_all()
        else:
            with contextlib.suppress(OSError):  # it is reverted later
                await _unbury(gateway, record_id)
                undo.pop_all()
    if reply.outcome == "rebuilding":
        raise being_rebuilt()
    return reply


async def run(gateway: Gateway) -> None:
    """Settle, every minute, deletions of killed gateways, and those that left something behind."""

    async def attempt() -> bool:
        pending, incomplete = await gateway.on_volume(_half_done, gateway.volume)
        for settle, record_ids in ((_settle, pending), (_remove_remains, incomplete)):
            for record_id in record_ids:
                with contextlib.suppress(OSError):  # the next round tries again
                    await settle(gateway, record_id)
        return True

    while True:
        await until_settled(attempt, OSError)  # another gateway may have settled it first
        await asyncio.sleep(ROUND_SECONDS)


def _half_done(volume: Volume) -> tuple[list[str], list[str]]:
    """Records with a pending tombstone, and those with a final one and a home; none still in progress."""
    homes = {home.name for home in (*entries(volume.jobs), *entries(volume.datasets))}
    old = time.time() - _IN_HAND_SECONDS
    pending, final = (
        [path for path in entries(volume.tombstones, pattern) if is_record_id(path.stem)]
        for pattern in ("*.pending", "*.json")
    )
    return (
        [path.stem for path in pending if path.stat().st_mtime < old],
        [path.stem for path in final if path.stem in homes and path.stat().st_mtime < old],
    )


async def _settle(gateway: Gateway, record_id: str) -> bool:
    """Complete the deletion of a record that is certainly gone, else revert it. True once Redis has answered.

    If Redis was emptied, nobody knows whether the record was gone: then it is restored from the volume.
    """
    async with gateway.lock(record_id):
        if await gateway.store.existence(record_id) == "missing":
            await gateway.on_volume(_complete, gateway.volume, record_id)
        else:
            await _unbury(gateway, record_id)
    return True


async def _remove_remains(gateway: Gateway, record_id: str) -> None:
    """Remove what is left of a deleted record.

    One that exists was not deleted: versions before 2026-12-01 did not tell a pending tombstone from a final
    one.
    """
    async with gateway.lock(record_id):
        if await gateway.store.existence(record_id) == "exists":
            await gateway.on_volume(remove_durably, gateway.volume.tombstone(record_id))
        else:
            await gateway.on_volume(discard, gateway.volume, record_id)


async def _bury(gateway: Gateway, record_id: str) -> None:
    await gateway.on_volume(_raise_tombstone, gateway.volume.pending_tombstone(record_id))


async def _unbury(gateway: Gateway, record_id: str) -> None:
    await gateway.on_volume(remove_durably, gateway.volume.pending_tombstone(record_id))


def _raise_tombstone(path: Path) -> None:
    """Write the tombstone; on a completely full volume, where deletions must still work, an empty file."""
    try:
        write_json(path, {"id": path.stem, "deleted_ms": round(time.time() * 1000)})
    except OSError as error:
        if LACKS.get(error.errno) != "volume_full":
            raise
        path.touch()
        sync_directory(path.parent)


def _complete(volume: Volume, record_id: str) -> None:
    """Make the tombstone final, and remove the files, of a record that Redis has forgotten."""
    try:
        _make_final(volume, record_id)
    except OSError as error:
        if LACKS.get(error.errno) != "volume_full":
            raise
        discard(volume, record_id)  # the other way round, to make room
        _make_final(volume, record_id)
    discard(volume, record_id)


def _make_final(volume: Volume, record_id: str) -> None:
    try:
        publish_durably(volume.pending_tombstone(record_id), volume.tombstone(record_id))
    except FileNotFoundError:  # another gateway has completed the deletion, or reverted it in between
        _raise_tombstone(volume.tombstone(record_id))
