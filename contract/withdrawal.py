"""The command of `store.lua` that takes back what was submitted, when nobody heard whether it was queued."""

import json

from contract.keys import KEYS, RecordKind
from contract.store import Command


def withdraw(kind: RecordKind, record_id: str) -> Command[bool]:
    """True if it was not queued: then it never is, though the message that asks for it may still come."""
    return Command((json.dumps(KEYS[kind].names()), "withdraw", json.dumps({"id": record_id})), bool)
