"""The commands that move aliases (`lua/pointing.lua`)."""

from collections.abc import Sequence
from typing import Literal

from contract.alias import AliasRecord
from contract.command import Command, command_of
from contract.keys import RecordKind

PointOutcome = Literal["pointed", "moved", "gone", "rebuilding"]


def meanings(alias: str) -> Command[AliasRecord | None]:
    """Get what an alias means and what it meant before, both as of the same revision."""
    return command_of(RecordKind.JOB, "meanings", _read_meanings, alias=alias)


def point(alias: str, record: AliasRecord, *, expected: int) -> Command[PointOutcome]:
    """Point an alias as `record` says, if its revision is the `expected` one (0: it does not exist).

    `moved`: it has another revision. `gone`: the generator's job, or the imported generator, was deleted.
    `rebuilding`: it may be restored yet.
    """
    now, before = record.texts
    return command_of(
        RecordKind.JOB,
        "point",
        _read_outcome,
        alias=alias,
        expected=expected,
        job=record.now.job,
        digest=record.now.digest,
        now=now,
        before=before,
    )


def unpoint(alias: str, *, expected: int) -> Command[PointOutcome]:
    """Forget an alias, if its revision is the `expected` one."""
    return command_of(RecordKind.JOB, "unpoint", _read_outcome, alias=alias, expected=expected)


def restore_alias(alias: str, record: AliasRecord, *, is_left_out: bool = False) -> Command[bool]:
    """Re-create an alias that Redis has lost; one that exists is left alone.

    With `is_left_out`, only if it still is.
    """
    now, before = record.texts
    given = {"alias": alias, "now": now, "before": before, "is_left_out": is_left_out}
    return command_of(RecordKind.JOB, "restore_alias", bool, **given)


def _read_outcome(reply: PointOutcome) -> PointOutcome:
    return reply


def _read_meanings(reply: Sequence[str | None]) -> AliasRecord | None:
    now, before = reply
    return AliasRecord.of_texts(now, before) if now else None
