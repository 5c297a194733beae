"""The Lua script's commands for records and workers, each with its arguments and the meaning of its reply.

Modules with a narrower subject, such as `contract.pointing`, have the others. A command is a value.
`service/store.py` runs it asynchronously, `worker/store.py` synchronously, so that the two sides cannot
disagree.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from contract.events import EventType
from contract.job import TRANSITIONS, CheckpointFact, Failure, Progress, Record, State, Want
from contract.keys import KEYS, RecordKind
from contract.submission import PLAIN, Submission

T = TypeVar("T")


@dataclass(frozen=True)
class Command(Generic[T]):
    """One call of the script: its ARGV, and how to parse its reply."""

    arguments: tuple[str, str, str]
    parse: Callable[[Any], T]


def command_of(kind: RecordKind, name: str, parse: Callable[[Any], T], /, **arguments: object) -> Command[T]:
    """Build the call of a command by its name. Arguments that are None are left out."""
    given = {key: value for key, value in arguments.items() if value is not None}  # cjson's null is truthy
    return Command((_names(kind), name, json.dumps(given)), parse)


@cache
def _names(kind: RecordKind) -> str:
    return json.dumps(KEYS[kind].names())


class Verdict(StrEnum):
    """The reply to an owner's report."""

    ACCEPTED = "accepted"
    LOST = "lost"  # another owner's token is newer
    UNKNOWN = "unknown"  # Redis was emptied and the record will be rebuilt, or it was lost and then forgotten


class Burial(NamedTuple):
    """The state of a record after its owner died: under a newer token, with an `error` if it failed."""

    id: str
    state: State
    error: Failure | None
    token: int
    attempt: int
    created_us: int


SubmitOutcome = Literal["submitted", "exists", "unusable", "known", "rebuilding", "withdrawn"]
ControlOutcome = Literal["accepted", "conflict", "missing"]
ForgetOutcome = Literal["forgotten", "missing", "live", "used", "aliased", "rebuilding"]


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


class Turns(NamedTuple):
    """The queue in the order in which it will be served, if nothing is added."""

    version: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class RememberedRequest:
    """What is remembered about an `Idempotency-Key`: the record it created, and a hash of the body."""

    id: str
    fingerprint: str


def submit(
    kind: RecordKind,
    record_id: str,
    spec: str,
    *,
    devices: int = 1,
    dataset: str | None = None,
    submission: Submission = PLAIN,
) -> Command[tuple[SubmitOutcome, str]]:
    """Queue new work. With `dataset`, only if that is prepared; it then counts as used.

    Nothing is queued if the submission's key has already created a record (`known`, with what `read_request`
    parses), or if Redis was emptied, so that this cannot be known (`rebuilding`).
    """
    uses = None
    if dataset is not None:
        keys = KEYS[RecordKind.DATASET]
        uses = {"id": dataset, "record": keys.record_of + dataset, "users": keys.users_of + dataset}
    return command_of(
        kind,
        "submit",
        tuple,
        id=record_id,
        spec=spec,
        devices=str(devices),
        uses=uses,
        fields=submission_fields(submission),
        request=request_of(record_id, submission),
    )


def submission_fields(submission: Submission) -> dict[str, str]:
    """A submission as fields of the record."""
    fields = {"submitter": submission.submitter, "priority": submission.priority.value}
    if submission.retry_of:
        fields["retry_of"] = submission.retry_of
    if submission.idempotency:
        fields["idempotency_key"] = submission.idempotency.key
    if submission.webhook:
        fields["webhook"] = submission.webhook.origin
    return fields


def request_of(record_id: str, submission: Submission) -> dict[str, str] | None:
    """What to remember about its Idempotency-Key, if it has one."""
    made_by = submission.idempotency
    if made_by is None:
        return None
    return {"key": made_by.key, "made": json.dumps({"id": record_id, "fingerprint": made_by.fingerprint})}


def read_request(text: str) -> RememberedRequest:
    """Parse what was remembered about a key."""
    return RememberedRequest(**json.loads(text))


def turns(kind: RecordKind) -> Command[Turns]:
    """Get the order of the queue."""
    return command_of(kind, "turns", lambda reply: Turns(reply[0], tuple(reply[1:])))


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
    return _owned(
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
    return _owned(
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
    fields: Mapping[str, str] | None = None,
) -> Command[Verdict]:
    """Release a record in its next state. `queued` means handed back: what is wanted decides its state."""
    assert state in TRANSITIONS[State.RUNNING], "an owner lets go of what it runs"
    assert state is not State.PAUSED, "handed back as queued, it pauses if that is still wanted"
    return _owned(
        lease,
        "leave",
        Verdict,
        state=state,
        reason=reason,
        error=error.model_dump_json() if error else None,
        fields=dict(fields or {}),
    )


def died(lease: Lease, reason: str, max_deaths: int) -> Command[Burial | Verdict]:
    """The process that did the work died: queue the record again, or fail it as poison."""
    return _owned(lease, "died", _read_death, reason=reason, max_deaths=max_deaths)


def reap(kind: RecordKind, *, max_deaths: int, owner: str | None = None) -> Command[list[Burial]]:
    """Bury records whose leases expired, or with `owner` those that the slot owned before its restart."""
    return command_of(
        kind, "reap", lambda reply: [_read_burial(*row) for row in reply], max_deaths=max_deaths, owner=owner
    )


def control(
    kind: RecordKind, record_id: str, want: Want, reason: str | None = None
) -> Command[tuple[ControlOutcome, str]]:
    """Cancel, pause or resume. The reply has the resulting state, or the one that forbids it."""
    return command_of(kind, "control", tuple, id=record_id, want=want, reason=reason)


def forget_job(job_id: str) -> Command[tuple[ForgetOutcome, str]]:
    """Remove a job's record unless it is live or an alias points to it."""
    return command_of(
        RecordKind.JOB,
        "forget",
        tuple,
        id=job_id,
        only_terminal=True,
        uses_users_of=KEYS[RecordKind.DATASET].users_of,
    )


def forget_dataset(dataset_id: str) -> Command[tuple[ForgetOutcome, str]]:
    """Remove a dataset's record unless it is being prepared or a live job uses it."""
    return command_of(
        RecordKind.DATASET, "forget", tuple, id=dataset_id, users_record_of=KEYS[RecordKind.JOB].record_of
    )


def since(epoch: str, forgetting: Command[tuple[ForgetOutcome, str]]) -> Command[tuple[ForgetOutcome, str]]:
    """Forget only in this epoch. If Redis was emptied since, what was asked before is void: `rebuilding`."""
    names, name, arguments = forgetting.arguments
    return Command((names, name, json.dumps({**json.loads(arguments), "since": epoch})), forgetting.parse)


def mirrored(kind: RecordKind, record_id: str, revision: int, keep: int) -> Command[int]:
    """Events up to `revision` are fsynced on the volume; trim all but the newest `keep`."""
    return command_of(kind, "mirrored", int, id=record_id, revision=str(revision), keep=keep)


def hello(name: str, facts: Mapping[str, Any], ttl_seconds: float) -> Command[str | None]:
    """Announce a worker. The reply is the deployment's renderer; None before the first sampler."""
    ttl_ms = _milliseconds(ttl_seconds)
    return command_of(
        RecordKind.JOB, "hello", lambda reply: reply, name=name, facts=json.dumps(facts), ttl_ms=ttl_ms
    )


def goodbye(name: str) -> Command[int]:
    """Sign off a worker that exits on purpose."""
    return command_of(RecordKind.JOB, "goodbye", int, name=name)


def workers() -> Command[list[dict[str, Any]]]:
    """What every living worker reports about itself."""
    return command_of(
        RecordKind.JOB, "workers", lambda reply: [json.loads(facts) for facts in reply if facts]
    )


def _owned(lease: Lease, name: str, parse: Callable[[Any], T], /, **arguments: object) -> Command[T]:
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


def _read_death(reply: Sequence[str]) -> Burial | Verdict:
    return Verdict(reply[0]) if reply[0] in list(Verdict) else _read_burial(*reply)


def _read_burial(record_id: str, state: str, error: str, token: str, attempt: str, created_us: str) -> Burial:
    failure = Failure.model_validate_json(error) if error else None
    return Burial(record_id, State(state), failure, int(token), int(attempt), int(created_us))


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
