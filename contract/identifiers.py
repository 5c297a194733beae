"""The disjoint syntaxes of everything that has a name: jobs, datasets, aliases and digests."""

import re
import secrets
from typing import Annotated, Literal

from pydantic import StringConstraints

from contract.keys import RecordKind

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no look-alikes

JOB_PATTERN = r"^job_[0-9a-z]{16}$"
DATASET_PATTERN = r"^ds_[0-9a-z]{16}$"
ALIAS_PATTERN = r"^[a-z][a-z0-9-]{0,62}$"
OWNER_PATTERN = r"^(job_[0-9a-z]{16}|imported)$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
CURSOR_PATTERN = r"^[0-9]{1,19}(-(job|ds)_[0-9a-z]{16})?$"
PRINTABLE_ASCII = r"^[\x20-\x7e]+$"

JobId = Annotated[str, StringConstraints(pattern=JOB_PATTERN)]
DatasetId = Annotated[str, StringConstraints(pattern=DATASET_PATTERN)]
Owner = Annotated[str, StringConstraints(pattern=OWNER_PATTERN)]
Alias = Annotated[str, StringConstraints(pattern=ALIAS_PATTERN)]
Digest = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]

DIGEST_EXAMPLE = "sha256:" + "0123456789abcdef" * 4
"""A digest, for the documentation of the API."""

LATEST = "latest"  # the automatic, read-only alias
IMPORTED = "imported"  # in place of a job's id: the generator was not trained here

ReferenceKind = Literal["digest", "job", "alias"]


def new_job_id() -> str:
    """A fresh job id, 80 random bits."""
    return "job_" + _random()


def new_dataset_id() -> str:
    """A fresh dataset id, 80 random bits."""
    return "ds_" + _random()


def kind_of(record_id: str) -> RecordKind:
    """The kind of the record with this id."""
    return RecordKind.JOB if record_id.startswith("job_") else RecordKind.DATASET


def is_record_id(name: str) -> bool:
    """Whether a name is the id of a record of either kind."""
    return any(re.fullmatch(pattern, name) for pattern in (DATASET_PATTERN, JOB_PATTERN))


def is_alias(name: str) -> bool:
    """Whether a name is that of an alias."""
    return reference_kind(name) == "alias"


def reference_kind(reference: str) -> ReferenceKind | None:
    """Which of the three disjoint syntaxes a model reference has, or None."""
    if re.fullmatch(DIGEST_PATTERN, reference):
        return "digest"
    if re.fullmatch(JOB_PATTERN, reference):
        return "job"
    return "alias" if re.fullmatch(ALIAS_PATTERN, reference) else None


def _random() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(16))
