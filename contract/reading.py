"""The command that reads records. A full Redis refuses MULTI, but runs a script that reads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contract.keys import RecordKind
from contract.store import Command, command_of


class Sight(NamedTuple):
    """Records at one moment, by the clock of Redis."""

    now_ms: int
    turns: str | None  # the version of the queue's order; None if nothing was ever queued
    rows: list[tuple[Mapping[str, str], Sequence[str]]]  # fields, none if it is missing; checkpoints


def look_up(kind: RecordKind, record_ids: Sequence[str]) -> Command[Sight]:
    """Read records together, so that their states and the order of the queue agree."""
    return command_of(kind, "look_up", _read_sight, ids=record_ids)


def _read_sight(reply: Sequence[Any]) -> Sight:
    now_ms, version, *parts = reply
    fields = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in parts[::2]]
    return Sight(now_ms, version, list(zip(fields, parts[1::2], strict=True)))
