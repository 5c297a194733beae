"""Imports generators: receives a file onto the volume, checks it without running any of it, then keeps it."""

import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from contract.durable import publish_durably
from contract.errors import ErrorCode, ServiceError
from contract.forgetting import since
from contract.identifiers import IMPORTED, is_alias
from contract.imports import Import, add_import, forget_import
from contract.sampling import CheckpointPlace
from service import safetensors
from service.body_length import declared_length
from service.gateway import Gateway
from service.half_imported import alone_with_imports, forget_if_gone, noted, remove
from service.import_room import Incoming
from service.receiving import bounded, kept, require_type
from service.records import require_all_back, require_rebuilt
from service.refusals import being_rebuilt
from service.trainers import require_trainer

MEDIA_TYPES = ("application/octet-stream", "application/x-safetensors")


@dataclass(frozen=True)
class _Sent:
    """A received file on the volume, fsynced, in a staging directory."""

    path: Path
    bytes: int
    digest: str


async def take_in(request: Request, gateway: Gateway) -> tuple[str, bool]:
    """Import the generator in the body. Returns its digest, and whether it is new here.

    Raises:
        ServiceError: why it was rejected; nothing of it is kept.
    """
    await require_rebuilt(gateway)  # before half a gigabyte is sent
    async with _received(request, gateway) as sent:
        await gateway.on_volume(safetensors.inspect, sent.path)
        async with gateway.lock(sent.digest):
            if await _is_here(gateway, sent.digest):
                return sent.digest, False
            await gateway.import_room.require(sent.digest, sent.bytes)
            require_trainer(await gateway.roster.roles(), "to check the file")
            place = CheckpointPlace(job=IMPORTED, file=f"{sent.path.parent.name}/{sent.path.name}")
            await gateway.workshop.ask("inspect", sent.digest, place)
            async with alone_with_imports(gateway):
                await gateway.import_room.require(sent.digest, sent.bytes)
                await _keep(gateway, sent)
    return sent.digest, True


async def _is_here(gateway: Gateway, digest: str) -> bool:
    """Whether it was imported before, and its file is still intact."""
    if not await gateway.store.imported(digest):
        return False
    return await gateway.on_volume(_is_intact, gateway.volume.imported(digest), digest)


def _is_intact(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" == digest
    except OSError:
        return False


async def _keep(gateway: Gateway, sent: _Sent) -> None:
    """Write the volume first, so that a rebuild finds the file."""
    path = gateway.volume.imported(sent.digest)
    entry = Import(bytes=sent.bytes, imported_ms=time.time_ns() // 1_000_000)
    async with AsyncExitStack() as stack:
        if not await gateway.on_volume(path.exists):  # else keep it: Redis may have lost its entry
            await stack.enter_async_context(noted(gateway, sent.digest))
        await gateway.on_volume(publish_durably, sent.path, path)
        if not await gateway.store.run(add_import(sent.digest, entry)):
            raise being_rebuilt()


async def forget(gateway: Gateway, digest: str) -> None:
    """Remove an imported generator, and the programs built from it.

    Raises:
        ServiceError: `model_in_use`, `model_not_found`, or some aliases could not be restored.
    """
    async with gateway.lock(digest), alone_with_imports(gateway):
        epoch = await require_all_back(gateway, is_alias, f"may be an alias of {digest}")
        async with noted(gateway, digest):
            reply = await gateway.store.run(since(epoch, forget_import(digest)))
            gateway.remembered.forget()
            if reply.outcome in (
                "forgotten",
                "missing",
            ):  # missing: an earlier removal may have been interrupted
                was_there = await gateway.on_volume(remove, gateway.volume, digest)
                if not await forget_if_gone(gateway, digest):
                    raise being_rebuilt()
    if reply.outcome == "rebuilding":
        raise being_rebuilt()
    if reply.outcome == "aliased":
        alias = reply.by
        detail = (
            f"The alias {alias} points to {digest}; move it with PUT /models/{alias}, or delete it, first."
        )
        raise ServiceError(ErrorCode.MODEL_IN_USE, detail)
    if reply.outcome == "missing" and not was_there:
        detail = (
            f"No imported generator has the digest {digest}; one made by a job is deleted with "
            "DELETE /jobs/{id}."
        )
        raise ServiceError(ErrorCode.MODEL_NOT_FOUND, detail)


@asynccontextmanager
async def _received(request: Request, gateway: Gateway) -> AsyncIterator[_Sent]:
    """Receive the body into a file, which is removed when the block ends, unless it was renamed."""
    require_type(request, MEDIA_TYPES, " or ".join(MEDIA_TYPES))
    limit = gateway.settings.max_import_bytes
    declared = declared_length(request)
    if declared > limit:
        raise _too_large(limit)
    path = gateway.volume.incoming_imports / f"{uuid.uuid4().hex}.safetensors"
    whole = hashlib.sha256()
    async with gateway.import_room.receiving(declared) as file:
        pieces = _with_room(gateway, file, bounded(request.stream(), limit, _too_large(limit)))
        async with kept(gateway.on_volume, pieces, path, whole.update) as size:
            if not size:
                raise ServiceError(ErrorCode.BODY_EMPTY, "The body is empty; send a safetensors file.")
            yield _Sent(path, size, f"sha256:{whole.hexdigest()}")


async def _with_room(gateway: Gateway, file: Incoming, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for piece in pieces:
        await gateway.import_room.take(file, len(piece))
        yield piece


def _too_large(limit: int) -> ServiceError:
    detail = f"The file is larger than the {limit:,} bytes allowed; raise DCGAN_MAX_IMPORT_BYTES."
    return ServiceError(ErrorCode.BODY_TOO_LARGE, detail)
