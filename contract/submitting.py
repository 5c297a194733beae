"""The commands that queue a submission once, or withdraw it (`lua/submission.lua`)."""

import json
from dataclasses import dataclass
from typing import Literal, NamedTuple

from contract.command import Command, command_of
from contract.keys import KEYS, RecordKind
from contract.submission import PLAIN, Submission

SubmitOutcome = Literal["submitted", "exists", "unusable", "known", "rebuilding", "withdrawn"]


class Submitted(NamedTuple):
    """What became of a submission."""

    outcome: SubmitOutcome
    told: str
    """The record's state (`submitted`, `exists`), its dataset's or `missing` (`unusable`), what
    `read_request` parses (`known`), or nothing."""


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
) -> Command[Submitted]:
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
        Submitted._make,
        id=record_id,
        spec=spec,
        devices=str(devices),
        uses=uses,
        fields=submission_fields(submission),
        request=request_of(record_id, submission),
    )


def withdraw(kind: RecordKind, record_id: str, *, by_submitter: bool = True) -> Command[bool]:
    """Withdraw a submission. True if it was not queued.

    Then it never is, even if `submit` still arrives, or if a rebuild has just read its files. Only its
    submitter knows what its client was told. For anybody else this is False, too, while the record may still
    be restored from the volume: Redis was emptied, or the record is left out.
    """
    return command_of(kind, "withdraw", bool, id=record_id, by_submitter=by_submitter)


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
