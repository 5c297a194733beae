"""Re-creates aliases and imported generators from their files. Those that cannot be read are left out."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from contract.alias import AliasRecord
from contract.imports import Import, leave_out_import, restore_import
from contract.keys import ALIASES_LEFT_OUT, IMPORTS_LEFT_OUT
from contract.pointing import leave_out_alias, restore_alias
from contract.store import Command
from contract.volume import Volume, is_gone
from worker.store import Rebuild, Store

logger = logging.getLogger(__name__)


def restore_models(store: Rebuild, volume: Volume) -> None:
    """Restore them all, before the records stand."""
    for digest, path in volume.all_imports().items():
        _restore(_IMPORTS, digest, path, store)
    for alias, path in volume.all_aliases().items():
        _restore(_ALIASES, alias, path, store)


def restore_left_out_models(store: Store, volume: Volume) -> None:
    """Retry those that could not be read, unless they were replaced or deleted meanwhile."""
    for digest in store.left_out(IMPORTS_LEFT_OUT):
        _restore(_IMPORTS, digest, volume.imported(digest), store, is_left_out=True)
    for alias in store.left_out(ALIASES_LEFT_OUT):
        _restore(_ALIASES, alias, volume.alias(alias), store, is_left_out=True)


def _import(digest: str, path: Path, *, is_left_out: bool) -> Command[bool]:
    status = path.stat()
    entry = Import(bytes=status.st_size, imported_ms=status.st_mtime_ns // 1_000_000)
    return restore_import(digest, entry, is_left_out=is_left_out)


def _alias(alias: str, path: Path, *, is_left_out: bool) -> Command[bool]:
    return restore_alias(alias, AliasRecord.of_file(path.read_bytes()), is_left_out=is_left_out)


class _RestoreFrom(Protocol):
    def __call__(self, name: str, path: Path, /, *, is_left_out: bool) -> Command[bool]: ...


class _Kind(NamedTuple):
    left_out: str
    leave_out: Callable[[str], Command[bool]]
    restore: _RestoreFrom


_IMPORTS = _Kind(IMPORTS_LEFT_OUT, leave_out_import, _import)
_ALIASES = _Kind(ALIASES_LEFT_OUT, leave_out_alias, _alias)


def _restore(
    kind: _Kind, name: str, path: Path, store: Store | Rebuild, *, is_left_out: bool = False
) -> None:
    try:
        if is_gone(path):
            store.take_in(name, kind.left_out)
            return
        command = kind.restore(name, path, is_left_out=is_left_out)
    except (OSError, ValueError) as error:  # one damaged file costs no others
        if store.run(kind.leave_out(name)):
            logger.error("%s: not rebuilt, its file cannot be read: %s", name, error)
    else:
        if store.run(command) and is_left_out:
            logger.warning("%s: it can be read again, and is back", name)
