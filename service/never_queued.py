"""Removes submissions that were never queued, of gateways that were killed or ended while Redis was away."""

import asyncio
import logging
from pathlib import Path

from contract.identifiers import is_record_id, kind_of
from contract.volume import Volume, entries
from contract.withdrawal import withdraw
from service.gateway import Gateway
from service.records import remove_home
from service.settling import until_settled

_IN_HAND_SECONDS = 60.0
"""How long it is watched first: it may be in progress at another gateway. Modification times may be wrong."""

_OF_A_SUBMISSION = ("submission.json", "spec.json", "original")

log = logging.getLogger(__name__)


async def settle(gateway: Gateway) -> None:
    """Repeat until none is left: withdraw and remove those that are still abandoned after a minute."""

    async def attempt() -> bool:
        homes = await asyncio.to_thread(_abandoned, gateway.volume)
        if homes:
            await asyncio.sleep(_IN_HAND_SECONDS)
        return all([await _settle(gateway, home) for home in homes])

    await until_settled(attempt, OSError)


async def _settle(gateway: Gateway, home: Path) -> bool:
    """Remove a home, unless it was queued. Whether that is known: Redis may have been emptied."""
    record_id, kind = home.name, kind_of(home.name)
    if not await asyncio.to_thread(_is_abandoned, home):
        return True
    if not await gateway.store.run(withdraw(kind, record_id, by_submitter=False)):
        return await gateway.store.exists(kind, record_id)
    log.warning("%s: removed, it was never queued, and no client was told of it", record_id)
    await remove_home(gateway, record_id)
    return True


def _abandoned(volume: Volume) -> list[Path]:
    homes = [*entries(volume.datasets), *entries(volume.jobs)]
    return [home for home in homes if is_record_id(home.name) and _is_abandoned(home)]


def _is_abandoned(home: Path) -> bool:
    """Whether it can be read and contains only what is written before it is queued, in whole or in part."""
    try:
        return all(path.name.lstrip(".").startswith(_OF_A_SUBMISSION) for path in home.iterdir())
    except OSError:
        return False
