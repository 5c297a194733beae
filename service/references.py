"""Resolves model references: digests, which are cached, and jobs, aliases and `latest`, which are not."""

from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from contract.alias import Meaning
from contract.errors import ErrorCode, ServiceError
from contract.identifiers import IMPORTED, LATEST, Digest, JobId, is_record_id, reference_kind
from contract.imports import Import
from contract.job import CheckpointFact
from contract.keys import RecordKind
from contract.plugin import Frozen
from contract.sampling import CheckpointPlace
from contract.volume import imported_name
from service.gateway import Gateway
from service.job_views import job_state
from service.records import find, require_all_back, require_back, require_rebuilt
from service.refusals import parameter_error

T = TypeVar("T")

_TRAINING_SECONDS = 10.0
"""After which a job that trains may have made its first checkpoint."""
_LOOKS = 10
"""Attempts; one fails only if the newest job is deleted between its two reads."""


class Target(Frozen):
    """A generator, and where its file is."""

    job: JobId | None
    """The job whose checkpoint it is; None if it was imported."""
    digest: Digest
    file: str
    updated_ms: int = 0

    @classmethod
    def of(cls, job_id: str | None, checkpoint: CheckpointFact, updated_ms: int = 0) -> Self:
        return cls(job=job_id, digest=checkpoint.digest, file=checkpoint.file, updated_ms=updated_ms)

    @property
    def place(self) -> CheckpointPlace:
        return CheckpointPlace(job=self.job or IMPORTED, file=self.file)


async def resolve(gateway: Gateway, reference: str | None) -> Target:
    """Return the generator that a reference means now. Only digests are cached, as they cannot move.

    No read that began before this call is reused, so once a PUT has been answered, no process serves the old
    generator. However many calls resolve an alias at a time, they cost two reads.

    Raises:
        ServiceError: `model_not_found`, `no_model_yet`, or `invalid_request` if it matches no syntax.
    """
    if reference is None or reference == LATEST:
        return await gateway.shared.ask(("model", LATEST), lambda: _latest(gateway))
    match reference_kind(reference):
        case "digest":
            return await gateway.remembered.ask(("model", reference), lambda: of_digest(gateway, reference))
        case "job":
            return await gateway.shared.ask(("model", reference), lambda: of_job(gateway, reference))
        case "alias":
            return await gateway.shared.ask(("model", reference), lambda: of_alias(gateway, reference))
    detail = (
        f"model is {reference[:80]!r}, which is not a digest (sha256:…), a job (job_…) or an alias "
        "(a-z, 0-9 and -, beginning with a letter); GET /models lists the aliases."
    )
    raise parameter_error("model", detail)


async def with_generator(
    gateway: Gateway, reference: str | None, answer: Callable[[Target], Awaitable[T]]
) -> T:
    """Return the answer of what a reference means, or means by now if its file was deleted meanwhile.

    Another gateway may have deleted it, or this one while the request waited. If the file is damaged, the
    generator's other copy is used: that of a job's checkpoint which was imported as well, or the reverse.

    Raises:
        ServiceError: as `resolve`, or as `answer`: `checkpoint_unreadable` only if the file is still meant,
            and there is no other.
    """
    target = await resolve(gateway, reference)
    try:
        return await answer(target)
    except ServiceError as error:
        if error.code is not ErrorCode.CHECKPOINT_UNREADABLE:
            raise
        gateway.remembered.doubt(("model", reference))
        now = await resolve(gateway, reference)
        other = now if now.place != target.place else await other_copy(gateway, target)
        if other is None:
            raise
    return await answer(other)


async def other_copy(gateway: Gateway, target: Target) -> Target | None:
    """The same generator as a job's checkpoint if this one was imported, or imported if a job made it."""
    if target.job is None:
        return await _made(gateway, target.digest)
    return await _imported(gateway, target.digest)


async def _made(gateway: Gateway, digest: str) -> Target | None:
    job_id = await gateway.store.job_of_digest(digest)
    checkpoints = await gateway.store.checkpoints(job_id) if job_id else []
    return next((Target.of(job_id, one) for one in checkpoints if one.digest == digest), None)


async def _imported(gateway: Gateway, digest: str) -> Target | None:
    imported = await gateway.store.imported(digest)
    return of_import(digest, imported) if imported else None


async def of_digest(gateway: Gateway, digest: str) -> Target:
    """The generator with exactly these weights."""
    if target := await _made(gateway, digest) or await _imported(gateway, digest):
        return target
    await require_back(gateway, f"The import {digest}", digest)
    await require_all_back(gateway, is_record_id, f"may have made {digest}")
    detail = f"No generator has the digest {digest}; GET /jobs/{{id}}/checkpoints lists those of a job."
    raise ServiceError(ErrorCode.MODEL_NOT_FOUND, detail)


async def lasting(gateway: Gateway, digest: str) -> Target:
    """The generator with exactly these weights: its imported copy if there is one, which outlives its job."""
    return await _imported(gateway, digest) or await of_digest(gateway, digest)


def of_import(digest: str, imported: Import) -> Target:
    """An imported generator."""
    return Target(job=None, digest=digest, file=imported_name(digest), updated_ms=imported.imported_ms)


async def of_job(gateway: Gateway, job_id: str) -> Target:
    """A job's best generator so far."""
    try:
        standing = await find(gateway, RecordKind.JOB, job_id)
    except ServiceError as error:
        if error.code is not ErrorCode.JOB_NOT_FOUND:
            raise
        raise ServiceError(ErrorCode.MODEL_NOT_FOUND, error.detail) from None
    checkpoint = standing.record.checkpoint
    if checkpoint is None:
        state = job_state(standing.record)
        what_is = (
            f"made no checkpoint; GET /jobs/{job_id} tells why, POST /jobs/{job_id}/retry runs it again."
            if standing.record.state.is_terminal
            else f"has no checkpoint yet; GET /jobs/{job_id} shows its progress."
        )
        raise ServiceError(
            ErrorCode.NO_MODEL_YET,
            f"The job {job_id} is {state} and {what_is}",
            retry_after_seconds=None if standing.record.state.is_terminal else _TRAINING_SECONDS,
        )
    return Target.of(job_id, checkpoint)


async def of_alias(gateway: Gateway, alias: str) -> Target:
    """The generator that an alias points to."""
    meaning = await gateway.store.alias(alias)
    if meaning is None:
        raise await missing_alias(gateway, alias)
    return await of_meaning(gateway, meaning)


async def of_meaning(gateway: Gateway, meaning: Meaning) -> Target:
    """The generator that this means; if it follows a job, the job's best one now.

    While that job cannot be restored, it is the generator that was the best when the alias was put.
    """
    best = await gateway.store.best_checkpoint(meaning.job) if meaning.follow and meaning.job else None
    if best is not None:
        return Target.of(meaning.job, best, meaning.updated_ms)
    return Target(job=meaning.job, digest=meaning.digest, file=meaning.file, updated_ms=meaning.updated_ms)


async def missing_alias(gateway: Gateway, alias: str) -> ServiceError:
    """The error for an alias that does not exist. Raises while it may be restored."""
    await require_back(gateway, f"The alias {alias}", alias)
    detail = (
        f"There is no alias {alias!r}; GET /models lists those that exist, PUT /models/{alias} creates it."
    )
    return ServiceError(ErrorCode.MODEL_NOT_FOUND, detail)


async def find_latest(gateway: Gateway) -> Target | None:
    """The best generator of the job that finished last; None before the first one."""
    for _ in range(_LOOKS):
        job_id = await gateway.store.newest_servable()
        if job_id is None:
            return None
        standing = await gateway.store.find(RecordKind.JOB, job_id)
        if standing and standing.record.checkpoint:
            return Target.of(job_id, standing.record.checkpoint, standing.record.finished_ms or 0)
    return None


async def _latest(gateway: Gateway) -> Target:
    await require_rebuilt(gateway)  # the newest of the jobs restored so far may be an older one
    target = await find_latest(gateway)
    if target is None:
        await require_rebuilt(gateway)
        raise ServiceError(
            ErrorCode.NO_MODEL_YET,
            "No training job has succeeded yet, so there is no latest. Name one that is running or has ended "
            "otherwise with ?model=job_… (GET /jobs lists them); or train the first: POST images to "
            '/datasets, then {"dataset": "ds_…"} to /jobs, and ask again when the job has succeeded.',
        )
    return target
