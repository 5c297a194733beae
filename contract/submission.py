"""What a client says about a job besides what to train: submitter, priority, and the request it came in."""

import hashlib
import json
from enum import StrEnum
from pathlib import Path

from pydantic import ConfigDict, Field

from contract.durable import lack
from contract.kept import Kept
from contract.webhook import Webhook

ANYONE = "anyone"
"""The submitter of jobs that name none."""

SubmitterName = Field(
    ANYONE,
    min_length=1,
    max_length=100,
    description="Who asks. Submitters take turns, so that one person's many jobs do not hold up another's "
    "single job.",
)


class Priority(StrEnum):
    """How urgent a job is: more urgent jobs start first, whoever submits them. Running jobs continue."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Idempotency(Kept):
    """The `Idempotency-Key` of a request, and a hash of its body, which must be the same for the same key."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str | None, said: object) -> "Idempotency | None":
        """Of a key and the request's content, as JSON; None if no key was sent."""
        if key is None:
            return None
        return cls(key=key, fingerprint=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest())


class Submission(Kept):
    """`submission.json`, beside a job's spec: written once, before the record exists; private to our user."""

    model_config = ConfigDict(hide_input_in_errors=True)

    format_version: int = 1
    submitter: str = ANYONE
    priority: Priority = Priority.NORMAL
    idempotency: Idempotency | None = None
    retry_of: str | None = None
    webhook: Webhook | None = None


PLAIN = Submission()
"""A submission with only defaults."""


def read_submission(path: Path) -> Submission:
    """Read the submission of a job, if there is one."""
    return Submission.model_validate_json(path.read_bytes()) if path.exists() else PLAIN


def read_webhook(path: Path) -> Webhook | None:
    """Read the webhook of a job that has one, from its submission.

    Raises:
        OSError: the volume refuses.
        ValueError: the file is damaged, unreadable by itself, or gone.
    """
    try:
        return Submission.model_validate_json(path.read_bytes()).webhook
    except OSError as error:
        if lack(error):
            raise
        raise ValueError(str(error)) from error
