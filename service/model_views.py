"""What clients see of generators, their aliases, and what those meant before."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, StrictBool, model_validator

from contract.alias import Meaning, MovedBy
from contract.identifiers import DIGEST_EXAMPLE, LATEST, Digest, JobId
from contract.plugin import Frozen
from service.links import some_samples
from service.references import Target
from service.views import from_ms


class AliasTarget(Frozen):
    """What to point an alias at: a job's best checkpoint, as it is now or always, or a digest."""

    job: JobId | None = None
    digest: Digest | None = None
    follow: StrictBool = Field(
        default=False,
        description="With a job: always serve its best checkpoint, so that better ones of a running job are "
        "served as soon as they exist.",
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.job is None) == (self.digest is None):
            given = "neither was" if self.job is None else "both were"
            raise ValueError(f'give exactly one of "job" and "digest"; {given} given')
        if self.follow and self.job is None:
            raise ValueError('only a job can be followed: give "job", or leave out "follow"')
        return self


class Model(Frozen):
    """A generator, and the alias by which it was requested, if any."""

    alias: str | None = Field(
        description="Null when it was requested by digest or job.", examples=["flowers"]
    )
    automatic: bool = Field(
        description="Whether it follows the newest finished job by itself, and cannot be set."
    )
    follow: bool = Field(description="Whether it always points to its job's best checkpoint.")
    job: str | None = Field(
        description="The job that made it; null if it was imported.", examples=["job_7f2d9k0w3q5m8x1a"]
    )
    digest: str = Field(examples=[DIGEST_EXAMPLE])
    revision: int | None = Field(description="For your own aliases: rises by one with each move, from 1.")
    etag: str | None = Field(
        description="For your own aliases: send it as `If-Match`.", examples=['"3-5f0c2d1e9a8b7c6d"']
    )
    updated_at: datetime | None = Field(description="When the alias was pointed there.")
    links: dict[str, str]

    @classmethod
    def of_alias(cls, alias: str, meaning: Meaning, target: Target) -> Self:
        return cls._of(alias, target, meaning)

    @classmethod
    def of_latest(cls, target: Target) -> Self:
        return cls._of(LATEST, target, None)

    @classmethod
    def of_target(cls, target: Target) -> Self:
        """A generator that was not requested by an alias."""
        return cls._of(None, target, None)

    @classmethod
    def _of(cls, alias: str | None, target: Target, meaning: Meaning | None) -> Self:
        reference = alias or target.digest
        links = {
            "self": f"/models/{reference}",
            "export": f"/models/{reference}/export",
            "samples": some_samples(reference),
            "pinned_samples": some_samples(target.digest),
        }
        if target.job:
            links["job"] = f"/jobs/{target.job}"
        if meaning:
            links |= {"history": f"/models/{alias}/history", "rollback": f"/models/{alias}/rollback"}
        return cls(
            alias=alias,
            automatic=alias == LATEST,
            follow=meaning.follow if meaning else False,
            job=target.job,
            digest=target.digest,
            revision=meaning.revision if meaning else None,
            etag=meaning.etag(target.digest) if meaning else None,
            updated_at=from_ms(target.updated_ms) if target.updated_ms else None,
            links=links,
        )


class PastMeaning(Frozen):
    """What an alias was pointed at, when, and by which request."""

    revision: int | None = Field(description="Null for `latest`.")
    job: str | None = Field(examples=["job_7f2d9k0w3q5m8x1a"])
    digest: str = Field(
        description="If it follows a job: the job's best checkpoint when the alias was set.",
        examples=[DIGEST_EXAMPLE],
    )
    follow: bool
    by: MovedBy | Literal["automatic"] = Field(description="`put` or `rollback`; `automatic` for `latest`.")
    at: datetime

    @classmethod
    def of(cls, meaning: Meaning) -> Self:
        return cls(
            revision=meaning.revision,
            job=meaning.job,
            digest=meaning.digest,
            follow=meaning.follow,
            by=meaning.by,
            at=from_ms(meaning.updated_ms),
        )

    @classmethod
    def of_latest(cls, target: Target) -> Self:
        return cls(
            revision=None,
            job=target.job,
            digest=target.digest,
            follow=False,
            by="automatic",
            at=from_ms(target.updated_ms),
        )
