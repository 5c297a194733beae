"""Imported generators: what Redis holds about each, and the commands that change it."""

from contract.command import Command, command_of
from contract.forgetting import Forgotten
from contract.kept import Kept
from contract.keys import RecordKind


class Import(Kept):
    """An imported generator, stored under its digest. The rest is in the file."""

    bytes: int
    imported_ms: int


def add_import(digest: str, entry: Import) -> Command[bool]:
    """Add one. False if the records do not stand; then a rebuild will find its file."""
    return command_of(RecordKind.JOB, "add_import", bool, digest=digest, entry=entry.model_dump_json())


def restore_import(digest: str, entry: Import, *, is_left_out: bool = False) -> Command[bool]:
    """Re-create one from the volume, before the records stand; with `is_left_out`, only if it still is."""
    given = {"digest": digest, "entry": entry.model_dump_json(), "is_left_out": is_left_out}
    return command_of(RecordKind.JOB, "restore_import", bool, **given)


def forget_import(digest: str) -> Command[Forgotten]:
    """Forget one, unless an alias points to it."""
    return command_of(RecordKind.JOB, "forget_import", Forgotten._make, digest=digest)
