"""Generators as files: the checkpoint itself, or a program that a trainer makes of it, once."""

import asyncio
import functools
from pathlib import Path

from contract.errors import ErrorCode, ServiceError
from contract.keys import Role
from contract.workshop import ExportFormat, Program, export
from service.gateway import Gateway
from service.references import Target

_START_SECONDS = 5.0


async def exported(gateway: Gateway, target: Target, form: ExportFormat) -> tuple[Path, str]:
    """Where the file lies, and the digest of what it holds.

    Raises:
        ServiceError: `checkpoint_unreadable` when the checkpoint is gone, or no longer what its digest names;
            or what becomes of asking a trainer.
    """
    if form == "safetensors":
        return await _checkpoint(gateway, target)
    path = export(gateway.volume, target.place, target.digest, form)
    make = functools.partial(_make, gateway, target, form, path)
    await gateway.shared.ask(("export", target.digest, form), make)
    return path, await gateway.digests.of(path)


async def _checkpoint(gateway: Gateway, target: Target) -> tuple[Path, str]:
    path = gateway.volume.checkpoint(target.place.job, target.file)
    try:
        digest = await gateway.digests.of(path)
    except FileNotFoundError:
        detail = f"{path.name} cannot be sent: there is no such file on the volume."
        raise ServiceError(ErrorCode.CHECKPOINT_UNREADABLE, detail) from None
    if digest != target.digest:
        detail = f"{path.name} cannot be sent: its content is not what its digest {target.digest} names."
        raise ServiceError(ErrorCode.CHECKPOINT_UNREADABLE, detail)
    return path, digest


async def _make(gateway: Gateway, target: Target, program: Program, path: Path) -> None:
    """Who asks while it is being made comes here next, and finds it."""
    if not await asyncio.to_thread(path.exists):
        await require_trainer(gateway, f"that could make {program} of it")
        await gateway.workshop.ask(program, target.digest, target.place)


async def require_trainer(gateway: Gateway, for_what: str) -> None:
    """Raise unless somebody with torch and time to spare lives."""
    if Role.TRAIN not in await gateway.living_roles():
        detail = f"No trainer is alive {for_what}; start one with --role train."
        raise ServiceError(ErrorCode.NO_TRAINER, detail, retry_after_seconds=_START_SECONDS)
