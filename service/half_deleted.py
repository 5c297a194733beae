"""Completes or reverts deletions that a killed gateway left half done."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from contract.durable import remove_durably
from contract.identifiers import kind_of
from contract.volume import Volume
from service.gateway import Gateway
from service.records import remove_home
from service.settling import until_settled

_IN_HAND_SECONDS = 60.0
"""A younger deletion may still be in progress at another gateway."""


async def settle(gateway: Gateway) -> None:
    """Repeat until none is left: remove the tombstone if the record exists, otherwise the record's home."""

    async def attempt() -> bool:
        if not await gateway.store.is_rebuilt():
            return False
        half_done = await asyncio.to_thread(_half_done, gateway.volume)
        if not half_done:
            return True
        for tombstone in await asyncio.to_thread(_left, half_done):
            await _settle(gateway, tombstone)
        return False

    await until_settled(attempt, OSError)  # another gateway may have settled it first


async def _settle(gateway: Gateway, tombstone: Path) -> None:
    record_id = tombstone.stem
    kind = kind_of(record_id)
    async with gateway.lock(record_id):
        if await gateway.store.exists(kind, record_id):
            await asyncio.to_thread(remove_durably, tombstone)
        elif await gateway.store.is_rebuilt():
            await remove_home(gateway, record_id)


def _half_done(volume: Volume) -> list[Path]:
    """The tombstones of records whose home still exists."""
    return [
        tombstone for tombstone in volume.tombstones.glob("*.json") if volume.home(tombstone.stem).exists()
    ]


def _left(half_done: Iterable[Path]) -> list[Path]:
    """Those that are too old to be in progress."""
    old = time.time() - _IN_HAND_SECONDS
    return [tombstone for tombstone in half_done if tombstone.stat().st_mtime < old]
