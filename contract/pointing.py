"""The commands of `store.lua` that move aliases."""

import json
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from contract.alias import AliasRecord
from contract.keys import KEYS, RecordKind
from contract.store import Command

T = TypeVar("T")
PointOutcome = Literal["pointed", "moved", "gone", "rebuilding"]


def point(alias: str, record: AliasRecord, *, expected: int) -> Command[PointOutcome]:
    """Let an alias mean what `record` says, if its revision is the `expected` one (0: there is none).

    `moved`: it is not. `gone`: the generator's job, or the imported generator, was deleted.
    """
    now, before = record.texts
    return _command(
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
    return _command("unpoint", _read_outcome, alias=alias, expected=expected)


def restore_alias(alias: str, record: AliasRecord) -> Command[bool]:
    """Re-create an alias that Redis has lost; one that exists is left alone."""
    now, before = record.texts
    return _command("restore_alias", bool, alias=alias, now=now, before=before)


def _read_outcome(reply: PointOutcome) -> PointOutcome:
    return reply


def _command(command: str, parse: Callable[[Any], T], **arguments: object) -> Command[T]:
    given = {key: value for key, value in arguments.items() if value is not None}  # cjson's null is truthy
    return Command((json.dumps(KEYS[RecordKind.JOB].names()), command, json.dumps(given)), parse)
