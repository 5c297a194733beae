"""Generators that were not trained here: what Redis holds of each, and the commands that change it."""

import json

from contract.kept import Kept
from contract.keys import KEYS, RecordKind
from contract.store import Command, ForgetOutcome


class Import(Kept):
    """One of them, under its digest. The rest is in the file."""

    bytes: int
    imported_ms: int


def add_import(digest: str, entry: Import) -> Command[bool]:
    """Remember one; False where the records do not stand, so that a rebuild will find its file."""
    return Command(_arguments("add_import", digest=digest, entry=entry.model_dump_json()), bool)


def restore_import(digest: str, entry: Import) -> Command[bool]:
    """Re-create one from the volume, before the records stand."""
    return Command(_arguments("restore_import", digest=digest, entry=entry.model_dump_json()), bool)


def forget_import(digest: str) -> Command[tuple[ForgetOutcome, str]]:
    """Forget one unless an alias means it."""
    return Command(_arguments("forget_import", digest=digest), tuple)


def _arguments(command: str, **arguments: str) -> tuple[str, str, str]:
    return json.dumps(KEYS[RecordKind.JOB].names()), command, json.dumps(arguments)
