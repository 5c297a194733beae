"""The commands that read records. A full Redis refuses MULTI, but runs a script that reads."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from contract.command import Command, command_of
from contract.identifiers import kind_of
from contract.keys import RecordKind

Existence = Literal["exists", "missing", "left_out", "rebuilding"]


class Sight(NamedTuple):
    """Records at one moment, by the clock of Redis."""

    now_ms: int
    turns: str | None  # the version of the queue's order; None if nothing was ever queued
    rows: list[tuple[Mapping[str, str], Sequence[str]]]  # fields, none if it is missing; checkpoints


def look_up(kind: RecordKind, record_ids: Sequence[str]) -> Command[Sight]:
    """Read records together, so that their states and the order of the queue agree."""
    return command_of(kind, "look_up", _read_sight, ids=record_ids)


def existence(name: str, of_volume: str) -> Command[Existence]:
    """Whether a record, alias or import exists.

    `missing` is certain. One that is `left_out` may be restored; while the records do not stand, or are older
    than the volume, whose epoch is `of_volume`, any may be (`rebuilding`).
    """
    return command_of(kind_of(name), "existence", lambda reply: reply, name=name, of_volume=of_volume)


def _read_sight(reply: Sequence[Any]) -> Sight:
    now_ms, version, *parts = reply
    fields = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in parts[::2]]
    return Sight(now_ms, version, list(zip(fields, parts[1::2], strict=True)))
