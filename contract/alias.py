"""What an alias points to, and pointed to before, in the one form that Redis and the volume store."""

import hashlib
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, TypeAdapter

from contract.identifiers import Digest, JobId
from contract.kept import Kept

MovedBy = Literal["put", "rollback"]

KEPT_MEANINGS = 100
"""Maximum number of meanings stored per alias: the newest, including the current one."""


class Meaning(Kept):
    """One generator that an alias points or pointed to. Small, because it is read for every sample.

    Files written before there were revisions have only the first four fields.
    """

    job: JobId | None = Field(description="The job that made it; null for an imported generator.")
    digest: Digest = Field(description="If it follows a job: the job's best checkpoint when it was set.")
    file: str
    updated_ms: int = 0
    follow: bool = False
    revision: int = 1
    by: MovedBy = "put"

    def is_same_target(self, other: "Meaning") -> bool:
        """Whether both resolve to the same generator in the same place, now and later."""
        if self.follow or other.follow:
            return (self.job, self.follow) == (other.job, other.follow)
        return (self.job, self.digest) == (other.job, other.digest)

    def etag(self, digest: str) -> str:
        """The strong ETag of the alias while it resolves to the generator of this digest.

        It includes the time, because an alias that is deleted and created again restarts at revision 1.
        """
        state = hashlib.sha256(f"{self.updated_ms}/{digest}".encode()).hexdigest()
        return f'"{self.revision}-{state[:16]}"'


class AliasRecord(Kept):
    """An alias with its history: the content of `aliases/{alias}.json`, except for the field names."""

    now: Meaning
    before: tuple[Meaning, ...] = ()
    """The newest first."""

    @classmethod
    def of_file(cls, text: str | bytes) -> Self:
        """Read what `as_file` wrote.

        Raises:
            ValidationError: it is damaged.
        """
        file = _File.model_validate_json(text)
        fields = {name: getattr(file, name) for name in Meaning.model_fields}
        return cls(now=Meaning(**fields), before=file.before)

    @classmethod
    def of_texts(cls, now: str, before: str | None) -> Self:
        """Read the two parts that Redis holds."""
        earlier = _MEANINGS.validate_json(before) if before else ()
        return cls(now=Meaning.model_validate_json(now), before=tuple(earlier))

    @property
    def texts(self) -> tuple[str, str]:
        """The two parts that Redis holds; sampling reads only the first."""
        return self.now.model_dump_json(), _MEANINGS.dump_json(self.before).decode()

    def as_file(self) -> bytes:
        return _File(**self.now.model_dump(), before=self.before).model_dump_json().encode()

    @property
    def meanings(self) -> Sequence[Meaning]:
        """The current one, then those before it."""
        return (self.now, *self.before)

    def moved(self, to: Meaning) -> Self:
        """The record after the alias is moved."""
        now = to.model_copy(update={"revision": self.now.revision + 1})
        return type(self)(now=now, before=(self.now, *self.before)[: KEPT_MEANINGS - 1])


class _File(Meaning):
    before: tuple[Meaning, ...] = ()


_MEANINGS: TypeAdapter[tuple[Meaning, ...]] = TypeAdapter(tuple[Meaning, ...])
