"""The command that steers a record: cancel, pause, resume (`lua/control.lua`)."""

from typing import Literal, NamedTuple

from contract.command import Command, command_of
from contract.job import Want
from contract.keys import RecordKind

ControlOutcome = Literal["accepted", "conflict", "missing"]


class Steered(NamedTuple):
    """What became of a request to steer."""

    outcome: ControlOutcome
    state: str
    """The resulting state, or the one that forbids it, which may be `cancelling`; empty if it is missing."""


def control(kind: RecordKind, record_id: str, want: Want, reason: str | None = None) -> Command[Steered]:
    """Cancel, pause or resume. The reply has the resulting state, or the one that forbids it."""
    return command_of(kind, "control", Steered._make, id=record_id, want=want, reason=reason)
