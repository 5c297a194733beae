"""Re-creates aliases and imported generators from their files. Those that cannot be read are left out."""

import logging
from pathlib import Path

from contract.alias import AliasRecord
from contract.command import Command
from contract.identifiers import is_alias, is_record_id
from contract.imports import Import, restore_import
from contract.pointing import restore_alias
from contract.rebuilding import leave_out
from contract.volume import Volume, is_gone
from worker.store import Rebuild, Store

logger = logging.getLogger(__name__)


def restore_models(store: Rebuild, volume: Volume) -> None:
    """Restore them all, before the records stand."""
    for name, path in (volume.all_imports() | volume.all_aliases()).items():
        _restore(name, path, store)


def restore_left_out_models(store: Store, volume: Volume) -> None:
    """Retry those that could not be read, unless they were replaced or deleted meanwhile."""
    for name in store.left_out():
        if not is_record_id(name):
            path = volume.alias(name) if is_alias(name) else volume.imported(name)
            _restore(name, path, store, is_left_out=True)


def _restore(name: str, path: Path, store: Store | Rebuild, *, is_left_out: bool = False) -> None:
    try:
        if is_gone(path):
            store.clear_left_out(name)
            return
        command = _restoring(name, path, is_left_out=is_left_out)
    except (OSError, ValueError) as error:  # one damaged file costs no others
        if store.run(leave_out(name, is_left_out=is_left_out)):
            logger.error("%s: not rebuilt, its file cannot be read: %s", name, error)
    else:
        if store.run(command) and is_left_out:
            logger.warning("%s: it can be read again, and is back", name)


def _restoring(name: str, path: Path, *, is_left_out: bool) -> Command[bool]:
    if is_alias(name):
        return restore_alias(name, AliasRecord.of_file(path.read_bytes()), is_left_out=is_left_out)
    status = path.stat()
    entry = Import(bytes=status.st_size, imported_ms=status.st_mtime_ns // 1_000_000)
    return restore_import(name, entry, is_left_out=is_left_out)
