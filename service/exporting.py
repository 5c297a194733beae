"""Generators as files: the checkpoint itself."""

from pathlib import Path

from contract.errors import ErrorCode, ServiceError
from contract.workshop import ExportFormat
from service.gateway import Gateway
from service.references import Target


async def exported(gateway: Gateway, target: Target, form: ExportFormat) -> tuple[Path, str]:
    """Where the file lies, and the digest of what it holds.

    Raises:
        ServiceError: `checkpoint_unreadable` when it is gone, or no longer what its digest names.
    """
    del form
    return await _checkpoint(gateway, target)


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
