"""The commands of a record's owner, from its claim until it lets go (`lua/owning.lua`)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from contract.command import Command, command_of
from contract.events import EventType
from contract.job import TRANSITIONS, CheckpointFact, Failure, Progress, Record, State, Want
from contract.keys import RecordKind

T = TypeVar("T")


class Verdict(StrEnum):
    """The reply to an owner's report."""

    ACCEPTED = "accepted"
    LOST = "lost"  # another owner's token is newer
    UNKNOWN = "unknown"  # Redis was emptied and the record will be rebuilt, or it was lost and then forgotten


@dataclass(frozen=True)
class Claim:
    """A claimed record, which belongs to its supervisor as long as it renews the lease under this token."""

    id: str
    token: str
    fields: Mapping[str, str]

    @property
    def record(self) -> Record:
        """The parsed fields. Parsed lazily, so that a record can be released even if it is unreadable."""
        return Record.from_hash(self.fields)


@dataclass(frozen=True)
class Lease:
    """Proof of ownership, sent with every fact."""

    kind: RecordKind
    id: str
    token: str
    seconds: float


def claim(
    kind: RecordKind, owner: str, *, lease_seconds: float, devices: int = 1, set_aside: Sequence[str] = ()
) -> Command[Claim | None]:
    """Claim the next queued record, of those that fit into `devices` and are not `set_aside`."""
    lease_ms = _milliseconds(lease_seconds)
    return command_of(
        kind, "claim", _read_claim, owner=owner, lease_ms=lease_ms, devices=devices, set_aside=set_aside
    )


def beat(lease: Lease, progress: Progress | None = None) -> Command[Want | Verdict]:
    """Renew the lease. The reply is what is wanted, or why it cannot be renewed."""
    return owned(
        lease,
        "beat",
        lambda reply: Want(reply) if reply in list(Want) else Verdict(reply),
        progress=progress.model_dump_json() if progress else None,
    )


def report(
    lease: Lease,
    number: int,
    *,
    fields: Mapping[str, str] | None = None,
    checkpoint: CheckpointFact | None = None,
    event: tuple[EventType, Mapping[str, Any]] | None = None,
) -> Command[Verdict]:
    """Report facts: fields, a checkpoint for the list, an event.

    An owner numbers its reports 1, 2, …; a repeated one counts once.
    """
    return owned(
        lease,
        "report",
        Verdict,
        number=number,
        fields=dict(fields or {}),
        checkpoint=checkpoint.model_dump_json() if checkpoint else None,
        event=event[0] if event else None,
        data=json.dumps(event[1]) if event else None,
    )


def leave(
    lease: Lease,
    state: State,
    *,
    reason: str | None = None,
    error: Failure | None = None,
) -> Command[Verdict]:
    """Release a record in its next state. `queued` means handed back: what is wanted decides its state."""
    assert state in TRANSITIONS[State.RUNNING], "an owner lets go of what it runs"
    assert state is not State.PAUSED, "handed back as queued, it pauses if that is still wanted"
    return owned(
        lease,
        "leave",
        Verdict,
        state=state,
        reason=reason,
        error=error.model_dump_json() if error else None,
    )


def owned(lease: Lease, name: str, parse: Callable[[Any], T], /, **arguments: object) -> Command[T]:
    return command_of(
        lease.kind,
        name,
        parse,
        id=lease.id,
        token=lease.token,
        lease_ms=_milliseconds(lease.seconds),
        **arguments,
    )


def _read_claim(reply: Sequence[str]) -> Claim | None:
    if not reply:
        return None
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    return Claim(fields["id"], fields["token"], fields)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
