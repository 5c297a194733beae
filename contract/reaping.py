"""The commands for records whose owners died (`lua/reaping.lua`)."""

from collections.abc import Sequence
from typing import NamedTuple

from contract.command import Command, command_of
from contract.job import Failure, State
from contract.keys import RecordKind
from contract.owning import Lease, Verdict, owned


class Burial(NamedTuple):
    """The state of a record after its owner died: under a newer token, with an `error` if it failed."""

    id: str
    state: State
    error: Failure | None
    token: int
    attempt: int
    created_us: int


def died(lease: Lease, reason: str, max_deaths: int) -> Command[Burial | Verdict]:
    """The process that did the work died: queue the record again, or fail it as poison."""
    return owned(lease, "died", _read_death, reason=reason, max_deaths=max_deaths)


def reap(kind: RecordKind, *, max_deaths: int, owner: str | None = None) -> Command[list[Burial]]:
    """Bury records whose leases expired, or with `owner` those that the slot owned before its restart."""
    return command_of(
        kind, "reap", lambda reply: [_read_burial(*row) for row in reply], max_deaths=max_deaths, owner=owner
    )


def _read_death(reply: Sequence[str]) -> Burial | Verdict:
    return Verdict(reply[0]) if reply[0] in list(Verdict) else _read_burial(*reply)


def _read_burial(record_id: str, state: str, error: str, token: str, attempt: str, created_us: str) -> Burial:
    failure = Failure.model_validate_json(error) if error else None
    return Burial(record_id, State(state), failure, int(token), int(attempt), int(created_us))
