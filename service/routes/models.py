"""Aliases: names of your own for generators, and the automatic `latest`."""

import asyncio
import time
from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Body, Path
from pydantic import Field, model_validator

from contract.errors import ErrorCode, ServiceError
from contract.identifiers import LATEST, Alias, Digest, JobId
from contract.plugin import Frozen
from contract.store import point
from contract.volume import sync_directory, write_durably
from service import records
from service.gateway import Gateway, Here
from service.openapi import read_problems, write_problems
from service.references import Target, find_latest, of_digest, of_job, resolve
from service.views import Page, from_ms

router = APIRouter(tags=["models"])

AliasPath = Annotated[Alias, Path(description="The alias's name.", examples=["best-flowers"])]


class AliasTarget(Frozen):
    """What an alias is to point to: a job's best checkpoint as it is now, or one checkpoint by its digest."""

    job: JobId | None = None
    digest: Digest | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.job is None) == (self.digest is None):
            raise ValueError('give either "job" or "digest", and only one of them')
        return self


class Model(Frozen):
    """An alias and the generator it means."""

    alias: str = Field(examples=["best-flowers"])
    automatic: bool = Field(description="Follows the newest finished job by itself; cannot be set.")
    job: str = Field(examples=["job_7f2d9k0w3q5m8x1a"])
    digest: str = Field(examples=["sha256:" + "0123456789abcdef" * 4])
    updated_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, alias: str, target: Target) -> Self:
        return cls(
            alias=alias,
            automatic=alias == LATEST,
            job=target.job,
            digest=target.digest,
            updated_at=from_ms(target.updated_ms),
            links={
                "self": f"/models/{alias}",
                "job": f"/jobs/{target.job}",
                "samples": f"/samples?model={alias}&seed=0&count=16",
                "pinned_samples": f"/samples?model={target.digest}&seed=0&count=16",
            },
        )


@router.get(
    "/models",
    response_model=Page[Model],
    operation_id="listModels",
    summary="List the aliases and what they point to",
    responses=read_problems(),
)
async def list_models(gateway: Here) -> Page[Model]:
    """`latest` first, if a job has finished; then your own by name."""
    await records.require_rebuilt(gateway)
    latest, aliases = await asyncio.gather(find_latest(gateway), gateway.store.aliases())
    own = [Model.of(alias, Target.model_validate_json(aliases[alias])) for alias in sorted(aliases)]
    return Page(items=(*((Model.of(LATEST, latest),) if latest else ()), *own))


@router.get(
    "/models/{alias}",
    response_model=Model,
    operation_id="getModel",
    summary="Show what an alias points to",
    responses=read_problems(ErrorCode.INVALID_REQUEST, ErrorCode.MODEL_NOT_FOUND, ErrorCode.NO_MODEL_YET),
)
async def get_model(gateway: Here, alias: AliasPath) -> Model:
    """The generator that `GET /samples?model={alias}` uses now."""
    return Model.of(alias, await resolve(gateway, alias))


@router.put(
    "/models/{alias}",
    response_model=Model,
    operation_id="putModel",
    summary="Point an alias at a generator",
    responses=write_problems(
        ErrorCode.INVALID_REQUEST,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
        ErrorCode.BODY_TOO_LARGE,
        ErrorCode.MODEL_NOT_FOUND,
        ErrorCode.NO_MODEL_YET,
        ErrorCode.RECORD_DELETED,
        ErrorCode.ALIAS_READ_ONLY,
    ),
)
async def put_model(
    gateway: Here,
    alias: AliasPath,
    to: Annotated[AliasTarget, Body(examples=[{"job": "job_7f2d9k0w3q5m8x1a"}])],
) -> Model:
    """Makes the alias or moves it. Once this has been answered, nobody is served the old generator."""
    _refuse_latest(alias)
    found = await (of_job(gateway, to.job) if to.job else of_digest(gateway, to.digest or ""))
    target = found.model_copy(update={"updated_ms": time.time_ns() // 1_000_000})
    async with gateway.lock(alias):
        await _point(gateway, alias, target)
    return Model.of(alias, target)


async def _point(gateway: Gateway, alias: str, target: Target) -> None:
    """Volume first, so that a rebuild finds it; taken back if the job was deleted meanwhile."""
    path, text = gateway.volume.alias(alias), target.model_dump_json()
    before = await gateway.store.alias(alias)
    await asyncio.to_thread(write_durably, path, text.encode())
    if not await gateway.store.run(point(alias, target.job, text)):
        if before is None:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        else:
            await asyncio.to_thread(write_durably, path, before.encode())
        detail = f"The job {target.job} was deleted meanwhile; point {alias} at another generator."
        raise ServiceError(ErrorCode.MODEL_NOT_FOUND, detail)


@router.delete(
    "/models/{alias}",
    status_code=204,
    operation_id="deleteModel",
    summary="Delete an alias",
    responses=write_problems(ErrorCode.INVALID_REQUEST, ErrorCode.MODEL_NOT_FOUND, ErrorCode.ALIAS_READ_ONLY),
)
async def delete_model(gateway: Here, alias: AliasPath) -> None:
    """The name goes; the generator stays."""
    _refuse_latest(alias)
    async with gateway.lock(alias):
        await asyncio.to_thread(_remove, gateway, alias)
        if not await gateway.store.remove_alias(alias):
            await records.require_rebuilt(gateway)
            detail = f"There is no alias {alias!r}; GET /models lists them."
            raise ServiceError(ErrorCode.MODEL_NOT_FOUND, detail)


def _remove(gateway: Gateway, alias: str) -> None:
    path = gateway.volume.alias(alias)
    if path.exists():
        path.unlink()
        sync_directory(path.parent)


def _refuse_latest(alias: str) -> None:
    if alias == LATEST:
        detail = "latest is automatic: it follows the newest finished job; choose another name for your own."
        raise ServiceError(ErrorCode.ALIAS_READ_ONLY, detail)
