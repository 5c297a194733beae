"""The command that steers a record: cancel, pause, resume (`lua/control.lua`)."""

from typing import Literal

from contract.command import Command, command_of
from contract.job import Want
from contract.keys import RecordKind

ControlOutcome = Literal["accepted", "conflict", "missing"]


def control(
    kind: RecordKind, record_id: str, want: Want, reason: str | None = None
) -> Command[tuple[ControlOutcome, str]]:
    """Cancel, pause or resume. The reply has the resulting state, or the one that forbids it."""
    return command_of(kind, "control", tuple, id=record_id, want=want, reason=reason)
