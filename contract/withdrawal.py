"""The command that withdraws a submission that may or may not have been queued."""

from contract.keys import RecordKind
from contract.store import Command, command_of


def withdraw(kind: RecordKind, record_id: str, *, by_submitter: bool = True) -> Command[bool]:
    """Withdraw a submission. True if it was not queued.

    Then it never is, even if `submit` still arrives, or if a rebuild has just read its files. Only its
    submitter knows what its client was told. For anybody else this is False, too, while the record may still
    be restored from the volume: Redis was emptied, or the record is left out.
    """
    return command_of(kind, "withdraw", bool, id=record_id, by_submitter=by_submitter)
