"""Pictures by seed: the same digest, seed and options give the same bytes, for ever."""

import secrets
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from contract.errors import ErrorCode, ServiceError
from contract.identifiers import LATEST, reference_kind
from contract.keys import Role
from contract.plugin import Frozen
from contract.sampling import MAX_COUNT, SampleFormat, SampleSpec
from contract.training import MAX_SEED
from service.accept import negotiate
from service.errors import parameter_error
from service.gateway import Gateway, Here
from service.openapi import read_problems
from service.pictures import Picture, etag_of
from service.references import Target, resolve

router = APIRouter(tags=["samples"])

_PNG = "image/png"
_NO_SAMPLER_RETRY_SECONDS = 5.0
_PINNED = "public, max-age=31536000, immutable"


class SamplesQuery(Frozen):
    """Which picture."""

    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="One seed is one image; without it one is drawn for you."
    )
    count: int = Field(1, ge=1, le=MAX_COUNT, description="More than 1: a sheet of seed … seed+count-1.")
    model: str | None = Field(
        None, description="A digest (sha256:…), a job (job_…) or an alias; default: the alias latest."
    )
    format: SampleFormat = Field("png", description="How the picture is encoded.")


@router.head("/samples", include_in_schema=False)
@router.get(
    "/samples",
    operation_id="getSamples",
    summary="Fetch a picture, or a sheet of them, by seed",
    response_class=Response,
    responses={
        **read_problems(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.NOT_ACCEPTABLE,
            ErrorCode.MODEL_NOT_FOUND,
            ErrorCode.NO_MODEL_YET,
            ErrorCode.RECORD_DELETED,
            ErrorCode.CHECKPOINT_UNREADABLE,
            ErrorCode.NO_SAMPLER,
            ErrorCode.SAMPLER_BUSY,
            ErrorCode.SAMPLER_TIMEOUT,
        ),
        200: {
            "description": "The picture. `X-Seed` and `X-Model-Digest` say what made it.",
            "content": {_PNG: {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "You have it: the `If-None-Match` you sent is its `ETag`."},
    },
)
async def get_samples(request: Request, gateway: Here, query: Annotated[SamplesQuery, Query()]) -> Response:
    """Each tile of a sheet equals the single picture of its seed.

    An address with `model=sha256:…` and a seed never changes its answer; others say in `Content-Location`
    which such address they are just now.
    """
    negotiate(request, (_PNG,))
    seed = _seed(query)
    _refuse_when_full(gateway, query.model)
    target = await resolve(gateway, query.model)
    spec = SampleSpec(digest=target.digest, seed=seed, count=query.count, format=query.format)
    headers = _headers(spec, query)
    etag = etag_of(spec, await gateway.renderer() or "none yet")
    if _client_has(request, etag):
        return Response(status_code=304, headers={**headers, "ETag": etag})
    picture = gateway.pictures.find(etag) or await _render(request, gateway, spec, target, etag)
    headers["ETag"] = picture.etag
    if _client_has(request, picture.etag):
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=_PNG, headers=headers)


def _refuse_when_full(gateway: Gateway, reference: str | None) -> None:
    """While the line is full, nothing is answered that needs a trip to Redis: refusals come at once then."""
    if gateway.mailbox.line.is_full and not gateway.remembers_generator(reference):
        raise gateway.mailbox.line.busy()


async def _render(request: Request, gateway: Gateway, spec: SampleSpec, target: Target, etag: str) -> Picture:
    gateway.pictures.require_room(spec)
    if Role.SAMPLE not in await gateway.living_roles():
        raise ServiceError(
            ErrorCode.NO_SAMPLER,
            "No sampler is alive, and this picture is not in the cache; start a worker with --role sample.",
            retry_after_seconds=_NO_SAMPLER_RETRY_SECONDS,
        )
    # While the roster was read, the picture may have come for somebody else.
    return gateway.pictures.find(etag) or await gateway.pictures.render(spec, target.place, request)


def _seed(query: SamplesQuery) -> int:
    last_start = MAX_SEED - query.count + 1
    if query.seed is None:
        return secrets.randbelow(last_start + 1)
    if query.seed > last_start:
        detail = (
            f"count is {query.count}, and the sheet would run past the last seed, {MAX_SEED}; "
            f"lower count, or seed to {last_start} at most."
        )
        raise parameter_error("count", detail)
    return query.seed


def _headers(spec: SampleSpec, query: SamplesQuery) -> dict[str, str]:
    headers = {"X-Seed": str(spec.seed), "X-Model-Digest": spec.digest, "Vary": "Accept"}
    if query.seed is not None and reference_kind(query.model or LATEST) == "digest":
        return {**headers, "Cache-Control": _PINNED}
    caching = "no-store" if query.seed is None else "no-cache"
    return {**headers, "Cache-Control": caching, "Content-Location": _pinned_address(spec)}


def _pinned_address(spec: SampleSpec) -> str:
    parameters: dict[str, str | int] = {"model": spec.digest, "seed": spec.seed}
    if spec.count > 1:
        parameters["count"] = spec.count
    return f"/samples?{urlencode(parameters, safe=':')}"


def _client_has(request: Request, etag: str) -> bool:
    listed = ",".join(request.headers.getlist("if-none-match"))
    return any(one.strip().removeprefix("W/") in (etag, "*") for one in listed.split(","))
