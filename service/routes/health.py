"""Whether the process is alive, and whether the whole service is ready."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field
from redis.exceptions import RedisError

from contract.keys import Role
from contract.plugin import Frozen
from contract.workers import workers
from service.gateway import Gateway, Here
from service.openapi import problems

router = APIRouter(tags=["health"])

Part = Literal["store", "records", "sampling_store", "volume", "trainer", "preparer", "sampler"]
_PART_OF_ROLE: dict[Role, Part] = {
    Role.TRAIN: "trainer",
    Role.PREPARE: "preparer",
    Role.SAMPLE: "sampler",
}


class Alive(Frozen):
    """The process answers."""

    alive: Literal[True] = True


class Missing(Frozen):
    """A part of the service that is missing or does not work, and why."""

    part: Part
    detail: str


class Impaired(Frozen):
    """A worker that is running but does no work at present, and why."""

    part: Part
    worker: str | None = Field(description="Its name; null if it is of an older version.")
    detail: str


class Readiness(Frozen):
    """Whether the service can accept images, train jobs and serve samples."""

    ready: bool
    missing: tuple[Missing, ...] = Field(examples=[[]])
    impaired: tuple[Impaired, ...] = Field(
        (), description="Although others may do their work, so that nothing is missing.", examples=[[]]
    )


@router.get(
    "/livez",
    response_model=Alive,
    operation_id="getLiveness",
    summary="Whether the gateway lives",
    responses=problems(),
)
async def get_liveness() -> Alive:
    """Checks this process alone, as restarting it would not fix problems elsewhere."""
    return Alive()


@router.get(
    "/readyz",
    response_model=Readiness,
    operation_id="getReadiness",
    summary="Whether every part works, and if not, which does not",
    responses={
        **problems(),
        503: {"model": Readiness, "description": "Something is missing; `missing` says what."},
    },
)
async def get_readiness(gateway: Here, response: Response) -> Readiness:
    """Answers 200 only if the service can prepare datasets, train jobs and serve samples.

    `impaired` names each worker that does not do its part, even if others do.
    """
    (store, impaired), sampling_store = await asyncio.gather(_store(gateway), _sampling_store(gateway))
    missing = (*store, *sampling_store, *_volume(gateway))
    response.status_code = 503 if missing else 200
    response.headers["Cache-Control"] = "no-store"
    return Readiness(ready=not missing, missing=missing, impaired=impaired)


async def _store(gateway: Gateway) -> tuple[tuple[Missing, ...], tuple[Impaired, ...]]:
    try:
        epoch, roles, facts = await asyncio.gather(
            gateway.store.epoch(), gateway.roster.roles(), gateway.store.run(workers())
        )
    except RedisError as error:
        return (Missing(part="store", detail=f"Redis does not answer: {error}"),), ()
    records = () if epoch else (Missing(part="records", detail="Being rebuilt from the volume."),)
    hindered = [one for one in facts if one.get("trouble") and one["role"] in _PART_OF_ROLE]
    return (*records, *_absent(roles, hindered)), tuple(map(_impaired, hindered))


def _absent(roles: Set[Role], hindered: Sequence[Mapping[str, Any]]) -> tuple[Missing, ...]:
    """Why a role is not filled: no worker is running, or those that are report what hinders them."""
    troubles = {one["role"]: one["trouble"] for one in hindered}
    return tuple(
        Missing(
            part=part,
            detail=f"A worker with --role {role} is running, but {troubles[role]}."
            if role in troubles
            else f"No worker with --role {role} is running.",
        )
        for role, part in _PART_OF_ROLE.items()
        if role not in roles
    )


def _impaired(hindered: Mapping[str, Any]) -> Impaired:
    part = _PART_OF_ROLE[hindered["role"]]
    return Impaired(part=part, worker=hindered.get("name"), detail=f"{hindered['trouble']}.")


async def _sampling_store(gateway: Gateway) -> tuple[Missing, ...]:
    try:
        await gateway.mailbox.ping()
    except RedisError as error:
        return (Missing(part="sampling_store", detail=f"Redis does not answer: {error}"),)
    return ()


def _volume(gateway: Gateway) -> tuple[Missing, ...]:
    if trouble := gateway.on_volume.trouble:
        return (Missing(part="volume", detail=f"{trouble}."),)
    if error := gateway.watch.write_error:
        return (Missing(part="volume", detail=f"{gateway.volume.root} cannot be written: {error!r}"),)
    return ()
