"""The command of `store.lua` that withdraws a submission that may or may not have been queued."""

from contract.keys import RecordKind
from contract.store import Command, command_of


def withdraw(kind: RecordKind, record_id: str) -> Command[bool]:
    """Withdraw a submission. True if it was not queued; then it never is, even if `submit` still arrives."""
    return command_of(kind, "withdraw", bool, id=record_id)
