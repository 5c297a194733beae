"""The command of `store.lua` that takes back what was submitted, when nobody heard whether it was queued."""

from contract.keys import RecordKind
from contract.store import Command, command_of


def withdraw(kind: RecordKind, record_id: str) -> Command[bool]:
    """True if it was not queued: then it never is, though the message that asks for it may still come."""
    return command_of(kind, "withdraw", bool, id=record_id)
