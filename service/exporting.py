"""Exports generators: the checkpoint itself, or a program that a trainer builds from it, once."""

import errno
import functools
import logging
from pathlib import Path

from contract.errors import ErrorCode, ServiceError
from contract.workshop import ExportFormat, Program, checksum, export
from service.gateway import Gateway
from service.references import Target
from service.stored_files import StoredFile
from service.trainers import require_trainer

logger = logging.getLogger(__name__)


async def exported(gateway: Gateway, target: Target, form: ExportFormat) -> StoredFile:
    """Open the generator's file in this form, built if necessary. The caller closes it.

    Raises:
        ServiceError: `checkpoint_unreadable` if the file is gone or unreadable, or the checkpoint no longer
            matches its digest; or any error of the request to a trainer.
        OSError: the volume is away or hangs.
    """
    if form == "safetensors":
        return await _checkpoint(gateway, target)
    path = export(gateway.volume, target.place, target.digest, form)
    make = functools.partial(_make, gateway, target, form, path)
    await gateway.shared.ask(("export", target.digest, target.place, form), make)
    file = await _intact(gateway, path)
    if file is None:  # deleted with its job since it was built, or damaged at once
        raise _unreadable(path)
    return file


async def _checkpoint(gateway: Gateway, target: Target) -> StoredFile:
    path = gateway.volume.checkpoint(target.place.job, target.file)
    try:
        file = await gateway.digests.open(path)
    except FileNotFoundError:  # deleted with its job since it was resolved
        raise _unreadable(path) from None
    except OSError as error:
        if error.errno == errno.ENODEV:  # it is not about this file
            raise
        logger.error("a generator cannot be read: %s", error)
        raise _unreadable(path) from None
    if file.digest != target.digest:
        file.content.close()
        detail = f"{target.file} cannot be sent: its content no longer has the digest {target.digest}."
        raise ServiceError(ErrorCode.CHECKPOINT_UNREADABLE, detail)
    return file


def _unreadable(path: Path) -> ServiceError:
    detail = f"{path.name} cannot be sent: the file on the volume is missing, damaged or unreadable."
    return ServiceError(ErrorCode.CHECKPOINT_UNREADABLE, detail)


async def _make(gateway: Gateway, target: Target, program: Program, path: Path) -> None:
    """A request that arrives during the build runs next, and finds the file. A damaged one is replaced."""
    if file := await _intact(gateway, path):
        file.content.close()
        return
    require_trainer(await gateway.roster.roles(), f"to export it as {program}")
    await gateway.workshop.ask(program, target.digest, target.place)


async def _intact(gateway: Gateway, path: Path) -> StoredFile | None:
    """The program, if it is there as its trainer wrote it."""
    try:
        written = await gateway.on_volume(_checksum, path)
        file = await gateway.digests.open(path)
    except OSError as error:
        if error.errno == errno.ENODEV:  # it is not about this file
            raise
        return None
    if written in (file.digest.encode(), None):
        return file
    file.content.close()
    return None


def _checksum(path: Path) -> bytes | None:
    """What the program's trainer noted; None if it is of an older version, which notes nothing."""
    try:
        return checksum(path).read_bytes()
    except FileNotFoundError:
        return None
