"""Completes or reverts deletions left half done: a gateway was killed, or something still wrote."""

import asyncio
import time
from pathlib import Path

from contract.durable import remove_durably
from contract.identifiers import kind_of
from contract.volume import Volume, entries
from service.gateway import Gateway
from service.records import remove_home
from service.settling import until_settled

ROUND_SECONDS = 60.0
_IN_HAND_SECONDS = 60.0
"""A younger deletion may still be in progress at another gateway."""


async def run(gateway: Gateway) -> None:
    """Every minute: remove the tombstones of records that exist, and what is left of others that have one."""

    async def attempt() -> bool:
        if not await gateway.store.is_rebuilt():
            return False
        for tombstone in await asyncio.to_thread(_half_done, gateway.volume):
            await _settle(gateway, tombstone)
        return True

    while True:
        await until_settled(attempt, OSError)  # another gateway may have settled it first
        await asyncio.sleep(ROUND_SECONDS)


async def _settle(gateway: Gateway, tombstone: Path) -> None:
    record_id = tombstone.stem
    kind = kind_of(record_id)
    async with gateway.lock(record_id):
        if await gateway.store.exists(kind, record_id):
            await asyncio.to_thread(remove_durably, tombstone)
        elif await gateway.store.is_rebuilt():
            await remove_home(gateway, record_id)


def _half_done(volume: Volume) -> list[Path]:
    """The tombstones of records whose home still exists, but for those that are too young."""
    homes = {home.name for home in (*entries(volume.jobs), *entries(volume.datasets))}
    tombstones = [path for path in entries(volume.tombstones, "*.json") if path.stem in homes]
    old = time.time() - _IN_HAND_SECONDS
    return [tombstone for tombstone in tombstones if tombstone.stat().st_mtime < old]
