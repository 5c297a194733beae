"""Completes or reverts imports and removals of generators that were interrupted, by notes on the volume.

A generator that Redis does not know is removed only if there is a note: it may come from a backup.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import get_args

from contract.durable import remove_durably, sync_directory
from contract.errors import ServiceError
from contract.identifiers import IMPORTED, reference_kind
from contract.imports import forget_import
from contract.sampling import CheckpointPlace
from contract.volume import Volume, imported_name, is_gone
from contract.workshop import Program, export, exports, remove_program
from service.alone import alone
from service.gateway import Gateway
from service.settling import until_settled

logger = logging.getLogger(__name__)


def alone_with_imports(gateway: Gateway) -> AbstractAsyncContextManager[None]:
    """Exclude other gateways from importing, which counts what is there, and from removing a generator."""
    return alone(gateway, gateway.volume.imports, doing="taking in or removing a generator")


@asynccontextmanager
async def noted(gateway: Gateway, digest: str) -> AsyncIterator[None]:
    """Enclose an import or a removal; if the block fails, Redis is asked later which of the two is to be."""
    note = gateway.volume.note_of_import(digest)
    async with AsyncExitStack() as undo:
        settle = partial(_settle, gateway, digest)
        undo.callback(gateway.background.settle, f"the import of {digest}", settle, ServiceError, OSError)
        with contextlib.suppress(OSError):  # generators must be removable from a full volume
            await gateway.on_volume(_write, note)
        yield
        undo.pop_all()
    with contextlib.suppress(OSError):
        await gateway.on_volume(remove_durably, note)


def _write(note: Path) -> None:
    note.touch()
    sync_directory(note.parent)


async def settle(gateway: Gateway) -> None:
    """Settle what killed gateways have noted, and remove programs whose generators are gone."""

    async def attempt() -> bool:
        for digest in await gateway.on_volume(gateway.volume.all_notes_of_imports):
            await until_settled(partial(_settle, gateway, digest), ServiceError, OSError)
        async with alone_with_imports(gateway):
            await gateway.on_volume(_remove_orphans, gateway.volume)
        return True

    await until_settled(attempt, ServiceError, OSError)


async def _settle(gateway: Gateway, digest: str) -> bool:
    """Remove the generator, unless Redis has its entry. Returns False while the records are being rebuilt."""
    async with alone_with_imports(gateway):
        existence = await gateway.store.existence(digest)
        if existence == "rebuilding":
            return False
        if existence == "left_out":
            return True  # the note stays, for the next gateway that starts
        if existence == "missing":
            await gateway.on_volume(remove, gateway.volume, digest)
            logger.warning("%s: removed, as its import or removal was interrupted", digest)
        if not await forget_if_gone(gateway, digest):
            return False
        await gateway.on_volume(gateway.volume.note_of_import(digest).unlink, missing_ok=True)
    return True


async def forget_if_gone(gateway: Gateway, digest: str) -> bool:
    """Forget a generator that a rebuild found before its file was removed; False while one still may."""
    if not await gateway.on_volume(is_gone, gateway.volume.imported(digest)):
        return True
    reply = await gateway.store.run(forget_import(digest))
    gateway.remembered.forget()
    return reply.outcome != "rebuilding"


def remove(volume: Volume, digest: str) -> bool:
    """Remove its file, then its programs: whoever is making one looks for the file last.

    Returns whether the file existed.
    """
    path = volume.imported(digest)
    was_there = path.exists()
    path.unlink(missing_ok=True)
    place = CheckpointPlace(job=IMPORTED, file=imported_name(digest))
    for program in get_args(Program):
        remove_program(export(volume, place, digest, program))
    return was_there


def _remove_orphans(volume: Volume) -> None:
    """Remove the programs, finished or not, whose generators are gone."""
    for path in exports(volume, CheckpointPlace(job=IMPORTED, file="")).glob("*"):
        digest = f"sha256:{path.name.lstrip('.').partition('.')[0]}"
        if reference_kind(digest) == "digest" and not volume.imported(digest).exists():
            path.unlink(missing_ok=True)
            logger.warning("%s: removed, its generator is gone", path)
