"""Generators by name: create, move, roll back and delete aliases; the automatic `latest`."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Body, Path, Response

from contract.alias import AliasRecord, Meaning
from contract.errors import ErrorCode, ServiceError
from contract.identifiers import LATEST, Alias, reference_kind
from service import records
from service.aliases import change, move
from service.entity_tags import UNTAGGED
from service.gateway import Gateway, Here
from service.importing import forget
from service.model_views import AliasTarget, Model, PastMeaning
from service.openapi import read_problems, write_problems
from service.preconditions import Conditions, Preconditions
from service.references import (
    Target,
    find_latest,
    lasting,
    missing_alias,
    of_digest,
    of_import,
    of_job,
    of_meaning,
    resolve,
)
from service.refusals import parameter_error
from service.views import Page

router = APIRouter(tags=["models"])

AliasPath = Annotated[Alias, Path(description="The alias's name.", examples=["best-flowers"])]
ReferencePath = Annotated[
    str, Path(description="An alias, a job (`job_…`) or a digest (`sha256:…`).", examples=["best-flowers"])
]
_CHANGED = (
    ErrorCode.INVALID_REQUEST,
    ErrorCode.MODEL_NOT_FOUND,
    ErrorCode.ALIAS_READ_ONLY,
    ErrorCode.PRECONDITION_FAILED,
)
_MOVED = (*_CHANGED, ErrorCode.RECORD_DELETED, ErrorCode.CHECKPOINT_UNREADABLE, ErrorCode.INSUFFICIENT_MEMORY)


@router.get(
    "/models",
    response_model=Page[Model],
    operation_id="listModels",
    summary="List the aliases and what they point to",
    responses=read_problems(),
)
async def list_models(gateway: Here) -> Page[Model]:
    """`latest` first, if a job has finished; then your aliases by name; then imports, the newest first."""
    await records.require_rebuilt(gateway)
    latest, aliases, imports = await asyncio.gather(
        find_latest(gateway), gateway.store.aliases(), gateway.store.imports()
    )
    own = await asyncio.gather(*(_view(gateway, alias, aliases[alias]) for alias in sorted(aliases)))
    imported = sorted(imports.items(), key=lambda item: item[1].imported_ms, reverse=True)
    others = [Model.of_target(of_import(digest, entry)) for digest, entry in imported]
    return Page(items=(*((Model.of_latest(latest),) if latest else ()), *own, *others))


@router.get(
    "/models/{reference}",
    response_model=Model,
    operation_id="getModel",
    summary="Show what an alias, a job or a digest points to",
    responses={
        **read_problems(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.MODEL_NOT_FOUND,
            ErrorCode.NO_MODEL_YET,
            ErrorCode.RECORD_DELETED,
            ErrorCode.PRECONDITION_FAILED,
        ),
        304: {"description": "You have it: the `If-None-Match` you sent is its `ETag`."},
    },
)
async def get_model(
    gateway: Here, response: Response, reference: ReferencePath, conditions: Conditions
) -> object:
    """The generator that `GET /samples?model={reference}` uses now; for your own aliases, with an `ETag`."""
    model = await _find(gateway, reference)
    etag = model.etag or UNTAGGED
    conditions.require(etag, f"the {reference_kind(reference)} {reference}", current=model)
    if model.etag:
        response.headers["ETag"] = model.etag
    if conditions.has(etag):
        return Response(status_code=304, headers=dict(response.headers))
    return model


async def _find(gateway: Gateway, reference: str) -> Model:
    if reference == LATEST:
        return Model.of_latest(await resolve(gateway, reference))
    if reference_kind(reference) != "alias":
        return Model.of_target(await resolve(gateway, reference))
    meaning = await gateway.store.alias(reference)
    if meaning is None:
        raise await missing_alias(gateway, reference)
    return await _view(gateway, reference, meaning)


async def _view(gateway: Gateway, alias: str, meaning: Meaning) -> Model:
    return Model.of_alias(alias, meaning, await of_meaning(gateway, meaning))


@router.put(
    "/models/{alias}",
    response_model=Model,
    operation_id="putModel",
    summary="Point an alias at a generator",
    responses={
        **write_problems(
            *_MOVED,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.BODY_TOO_LARGE,
            ErrorCode.NO_MODEL_YET,
        ),
        201: {"model": Model, "description": "The alias is new."},
    },
)
async def put_model(
    gateway: Here,
    response: Response,
    alias: AliasPath,
    to: Annotated[AliasTarget, Body(examples=[{"job": "job_7f2d9k0w3q5m8x1a"}])],
    conditions: Conditions,
) -> Model:
    """Creates or moves the alias. Once this has been answered, no request is served by the old generator.

    With `If-Match`, the alias is moved only if it has not changed since you read it. If it already points
    there, nothing changes; nor does it if a sampler cannot load the generator.
    """
    _refuse_latest(alias)
    target = await _named(gateway, to)
    meaning = Meaning(job=target.job, digest=target.digest, file=target.file, follow=to.follow)

    async def decide(record: AliasRecord | None) -> AliasRecord:
        await _require(gateway, conditions, alias, record)
        response.status_code = 200 if record else 201
        if record is None:
            return AliasRecord(now=_dated(meaning))
        return record if record.now.is_same_target(meaning) else record.moved(_dated(meaning))

    return await _show(gateway, response, alias, await move(gateway, alias, decide))


async def _named(gateway: Gateway, to: AliasTarget) -> Target:
    if to.job is not None:
        return await of_job(gateway, to.job)
    assert to.digest is not None
    return await lasting(gateway, to.digest)


@router.post(
    "/models/{alias}/rollback",
    response_model=Model,
    operation_id="rollBackModel",
    summary="Point an alias back at its previous generator",
    responses=write_problems(*_MOVED, ErrorCode.NOTHING_BEFORE),
)
async def roll_back_model(
    gateway: Here, response: Response, alias: AliasPath, conditions: Conditions
) -> Model:
    """Undoes the last change, even a rollback; the undo is recorded in the history."""
    _refuse_latest(alias)

    async def decide(record: AliasRecord | None) -> AliasRecord:
        await _require(gateway, conditions, alias, record)
        if record is None:
            raise await missing_alias(gateway, alias)
        before = await _meant_before(gateway, alias, record)
        return record.moved(_dated(before.model_copy(update={"by": "rollback"})))

    return await _show(gateway, response, alias, await move(gateway, alias, decide))


@router.get(
    "/models/{alias}/history",
    response_model=Page[PastMeaning],
    operation_id="getModelHistory",
    summary="List what an alias points and pointed to, the newest first",
    responses=read_problems(ErrorCode.INVALID_REQUEST, ErrorCode.MODEL_NOT_FOUND, ErrorCode.NO_MODEL_YET),
)
async def get_history(gateway: Here, alias: AliasPath) -> Page[PastMeaning]:
    """Up to a hundred entries. Their generators may be gone: an alias only protects its current one."""
    if alias == LATEST:
        return Page(items=(PastMeaning.of_latest(await resolve(gateway, alias)),))
    record = await _record(gateway, alias)
    return Page(items=tuple(map(PastMeaning.of, record.meanings)))


@router.delete(
    "/models/{reference}",
    status_code=204,
    operation_id="deleteModel",
    summary="Delete an alias, or an imported generator",
    responses=write_problems(*_CHANGED, ErrorCode.MODEL_IN_USE),
)
async def delete_model(gateway: Here, reference: ReferencePath, conditions: Conditions) -> None:
    """Deletes an alias with its history, but not its generator; given a digest, an imported generator."""
    match reference_kind(reference):
        case "digest":
            await _refuse_conditions(gateway, reference, conditions)
            await forget(gateway, reference)
        case "alias":
            await _delete_alias(gateway, reference, conditions)
        case _:
            detail = (
                f"{reference[:80]!r} is neither an alias nor a digest (sha256:…) of an imported generator; "
                "what a job made is deleted with DELETE /jobs/{id}."
            )
            raise parameter_error("reference", detail)


async def _refuse_conditions(gateway: Gateway, digest: str, conditions: Preconditions) -> None:
    """Refuse a deletion under a condition that cannot hold for a digest, which has no ETag."""
    if conditions.hold(UNTAGGED):
        return
    await of_digest(gateway, digest)
    detail = (
        f"{conditions}, but a digest never changes and has no ETag. Nothing was deleted; repeat without the "
        "condition."
    )
    raise ServiceError(ErrorCode.PRECONDITION_FAILED, detail)


async def _delete_alias(gateway: Gateway, alias: str, conditions: Preconditions) -> None:
    _refuse_latest(alias)

    async def decide(record: AliasRecord | None) -> None:
        await _require(gateway, conditions, alias, record)
        if record is None:
            raise await missing_alias(gateway, alias)

    await change(gateway, alias, decide)


def _refuse_latest(alias: str) -> None:
    if alias == LATEST:
        detail = (
            "latest is automatic: it means the job that succeeded last. Choose another name for your alias."
        )
        raise ServiceError(ErrorCode.ALIAS_READ_ONLY, detail)


async def _require(
    gateway: Gateway, conditions: Preconditions, alias: str, record: AliasRecord | None
) -> None:
    """Raise `precondition_failed` unless the conditions hold for the alias as it is now.

    Of an alias that may be restored, it is not known whether they do.
    """
    what = f"The alias {alias}"
    if record is None and conditions.are_given and await records.is_back(gateway, what, alias):
        record = await gateway.store.alias_record(alias)
    current = await _view(gateway, alias, record.now) if record else None
    if conditions.hold(current.etag if current else None):
        return
    if current:
        state = f"the alias {alias} now has ETag {current.etag} and points to {current.digest}"
    else:
        state = f"there is no alias {alias}"
    detail = f"{conditions}, but {state}; nothing was changed. GET /models/{alias}, then decide again."
    raise ServiceError(ErrorCode.PRECONDITION_FAILED, detail, current=current)


async def _record(gateway: Gateway, alias: str) -> AliasRecord:
    record = await gateway.store.alias_record(alias)
    if record is None:
        raise await missing_alias(gateway, alias)
    return record


async def _meant_before(gateway: Gateway, alias: str, record: AliasRecord) -> Meaning:
    """The meaning to roll back to, if its generator still exists; if only another copy does, that one."""
    if not record.before:
        detail = f"{alias} has never pointed to anything else; PUT /models/{alias} moves it."
        raise ServiceError(ErrorCode.NOTHING_BEFORE, detail)
    before = record.before[0]
    try:
        found = await (of_digest if before.job else lasting)(gateway, before.digest)
    except ServiceError as error:
        if error.code is not ErrorCode.MODEL_NOT_FOUND:
            raise
        owner = f"of {before.job} " if before.job else ""
        detail = (
            f"{alias} pointed to {before.digest} {owner}before, which has been deleted; "
            f"GET /models/{alias}/history lists what else it has pointed to."
        )
        raise ServiceError(ErrorCode.NOTHING_BEFORE, detail) from None
    if before.job == found.job:
        return before
    other_copy = {"job": found.job, "file": found.file, "follow": False}
    return before.model_copy(update=other_copy)


async def _show(gateway: Gateway, response: Response, alias: str, record: AliasRecord) -> Model:
    model = await _view(gateway, alias, record.now)
    assert model.etag is not None  # every alias but latest has one
    response.headers["ETag"] = model.etag
    if response.status_code == 201:
        response.headers["Location"] = f"/models/{alias}"
    return model


def _dated(meaning: Meaning) -> Meaning:
    return meaning.model_copy(update={"updated_ms": time.time_ns() // 1_000_000})
