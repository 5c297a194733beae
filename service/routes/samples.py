"""Pictures by seed: the same digest, seed, options and renderer give the same bytes."""

import secrets
import time
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from contract.errors import ErrorCode, ServiceError
from contract.formats import FORMS, SampleFormat
from contract.identifiers import LATEST, reference_kind
from contract.keys import Role
from contract.sampling import MAX_COUNT, SampleOptions, SampleSpec
from contract.training import MAX_SEED
from service.accept import negotiate
from service.caching import PINNED
from service.gateway import Gateway, Here
from service.openapi import read_problems
from service.pictures import Picture, etag_of
from service.preconditions import Preconditions
from service.references import Target, with_generator
from service.refusals import parameter_error
from service.sample_answers import ANSWER
from service.sample_bodies import SamplesBody
from service.timing import server_timing

router = APIRouter(tags=["samples"])

_NO_RENDERER = "none yet"
_NO_SAMPLER_RETRY_SECONDS = 5.0
_MEANINGLESS: dict[str, set[str]] = {
    "a sheet": set(),
    "tiles": {"columns", "padding"},
    "numbers": {"columns", "padding", "scale", "resample"},
}
_BY_MEDIA_TYPE = {form.media_type: name for name, form in FORMS.items()}
_CAN_FAIL_BY = (
    ErrorCode.INVALID_REQUEST,
    ErrorCode.NOT_ACCEPTABLE,
    ErrorCode.MODEL_NOT_FOUND,
    ErrorCode.NO_MODEL_YET,
    ErrorCode.RECORD_DELETED,
    ErrorCode.CHECKPOINT_UNREADABLE,
    ErrorCode.INSUFFICIENT_MEMORY,
    ErrorCode.NO_SAMPLER,
    ErrorCode.SAMPLER_BUSY,
    ErrorCode.SAMPLER_TIMEOUT,
)


class SamplesQuery(SampleOptions):
    """Which picture to render."""

    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="One seed is one image; without it, a random one is drawn."
    )
    count: int = Field(1, ge=1, le=MAX_COUNT, description="More than 1: a sheet of seed … seed+count-1.")
    to: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="The seed at the other end of a path: a sheet of `count` points on it, from `seed` on.",
    )
    at: float | None = Field(
        None, ge=0, le=1, description="Instead of `count`: one point of the path, 0 at `seed`, 1 at `to`."
    )
    model: str | None = Field(
        None, description="A digest (sha256:…), a job (job_…) or an alias; default: the alias latest."
    )
    format: SampleFormat | None = Field(
        None, description="How the samples are encoded; takes precedence over `Accept`."
    )


@router.head("/samples", include_in_schema=False)
@router.get(
    "/samples",
    operation_id="getSamples",
    summary="Fetch a picture, or a sheet of them, by seed",
    response_class=Response,
    responses={
        **read_problems(*_CAN_FAIL_BY, ErrorCode.PRECONDITION_FAILED),
        200: {
            "description": "The picture. `X-Seed` and `X-Model-Digest` say what made it; `Server-Timing` says"
            " how long each stage took.",
            **ANSWER,
        },
        304: {"description": "You have it: the `If-None-Match` you sent is its `ETag`."},
    },
)
async def get_samples(request: Request, gateway: Here, query: Annotated[SamplesQuery, Query()]) -> Response:
    """Each tile of a sheet equals the single picture of its seed, or of its point on a path.

    The answer at a URL with `model=sha256:…` and a seed never changes. Other answers name their current such
    URL in `Content-Location`.
    """
    begun_at = time.monotonic()
    chosen = _format(request, query, query.format, "")
    seed = _seed(query)
    if gateway.mailbox.load.is_full and _seems_to_need_a_sampler(request, gateway, query, chosen):
        raise gateway.mailbox.load.busy()
    answer = partial(_picture_by_seed, request, gateway, query, chosen, seed, begun_at)
    return await with_generator(gateway, query.model, answer)


async def _picture_by_seed(
    request: Request,
    gateway: Gateway,
    query: SamplesQuery,
    chosen: SampleFormat,
    seed: int,
    begun_at: float,
    target: Target,
) -> Response:
    renderer = await gateway.renderer()
    spec, etag, told = _described(query, chosen, seed, target.digest, renderer or _NO_RENDERER)
    headers = dict(told)
    conditions = Preconditions.of(request)
    is_drawn = query.seed is None  # a random seed: no client has this, or should cache it
    if renderer is not None:
        conditions.require(etag, "the picture")
        if conditions.has(etag, is_there=False) and not is_drawn:
            return Response(status_code=304, headers={**headers, "ETag": etag})
    picture = gateway.pictures.find(etag)
    if picture is None and request.method == "HEAD":
        return _unrendered(spec, headers if renderer is None else {**headers, "ETag": etag})
    picture = picture or await _render(request, gateway, spec, target, etag, begun_at)
    if not is_drawn:
        gateway.pictures.note(_hash(request, chosen), picture.etag)
    conditions.require(picture.etag, "the picture")
    headers |= {"ETag": picture.etag, "Server-Timing": server_timing(picture.stages, begun_at)}
    if conditions.has(picture.etag) and not is_drawn:
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=FORMS[spec.format].media_type, headers=headers)


@router.post(
    "/samples",
    operation_id="postSamples",
    summary="Fetch samples of listed seeds or of your own latents",
    response_class=Response,
    responses={
        **read_problems(
            *_CAN_FAIL_BY,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.BODY_TOO_LARGE,
            ErrorCode.FOREIGN_ORIGIN,
        ),
        200: {
            "description": "All samples, in the order requested. `X-Model-Digest` says what made them.",
            **ANSWER,
        },
    },
)
async def post_samples(
    request: Request,
    gateway: Here,
    body: Annotated[SamplesBody, Body(examples=[{"seeds": [7, 42, 1729], "format": "zip"}])],
) -> Response:
    """Changes nothing; it is a POST because the request may not fit into a URL.

    However many samples it requests, they take one round trip to a sampler.
    """
    begun_at = time.monotonic()
    chosen = _format(request, body, body.format, "/")
    body.require_whole()
    if gateway.mailbox.load.is_full and not gateway.remembers_generator(body.model):
        raise gateway.mailbox.load.busy()
    answer = partial(_picture_by_body, request, gateway, body, chosen, begun_at)
    return await with_generator(gateway, body.model, answer)


async def _picture_by_body(
    request: Request,
    gateway: Gateway,
    body: SamplesBody,
    chosen: SampleFormat,
    begun_at: float,
    target: Target,
) -> Response:
    spec = body.spec(target.digest, chosen)
    etag = etag_of(spec, await gateway.renderer() or _NO_RENDERER)
    try:
        picture = gateway.pictures.find(etag)
        picture = picture or await _render(request, gateway, spec, target, etag, begun_at)
    except ServiceError as refusal:
        raise body.pointed(refusal) from refusal
    headers = {
        "X-Model-Digest": spec.digest,
        "Cache-Control": "no-store",
        "Server-Timing": server_timing(picture.stages, begun_at),
    }
    if body.format is None:
        headers["Vary"] = "Accept"
    if address := spec.address():
        headers |= {"Content-Location": address, "ETag": picture.etag}
    return Response(picture.content, media_type=FORMS[spec.format].media_type, headers=headers)


def _format(request: Request, asked: SampleOptions, named: SampleFormat | None, root: str) -> SampleFormat:
    """The named format, or else the one that Accept prefers; raises if an option is meaningless in it."""
    chosen = named or _BY_MEDIA_TYPE[negotiate(request, _BY_MEDIA_TYPE)]
    for name in sorted(asked.chosen().keys() & _MEANINGLESS[FORMS[chosen].holds]):
        detail = f"{name} is {getattr(asked, name)}, but {chosen} holds {FORMS[chosen].holds}: leave it out."
        raise parameter_error(root + name, detail)
    return chosen


def _unrendered(spec: SampleSpec, headers: dict[str, str]) -> Response:
    """The answer to a HEAD, without the length, which is unknown until rendered (RFC 9110, 9.3.2)."""
    response = Response(media_type=FORMS[spec.format].media_type, headers=headers)
    del response.headers["Content-Length"]
    return response


def _seems_to_need_a_sampler(
    request: Request, gateway: Gateway, query: SamplesQuery, chosen: SampleFormat
) -> bool:
    """Whether to refuse while the line is full. Decided without a round trip to Redis, hence at once.

    What is let through by mistake is refused when it would be rendered.
    """
    if request.method == "HEAD" or "if-none-match" in request.headers:
        return False
    is_remembered = gateway.remembers_generator(query.model)
    return not is_remembered and not gateway.pictures.probably_has(_hash(request, chosen))


def _hash(request: Request, chosen: SampleFormat) -> int:
    """Of what the client wants; unlike the query, it takes no memory to speak of."""
    return hash((request.scope["query_string"], chosen))


async def _render(
    request: Request, gateway: Gateway, spec: SampleSpec, target: Target, etag: str, begun_at: float
) -> Picture:
    gateway.pictures.require_room(spec, target.place)
    if Role.SAMPLE not in await gateway.roster.roles():
        raise ServiceError(
            ErrorCode.NO_SAMPLER,
            "No sampler is running, and this picture is not in the cache; start a worker with --role sample.",
            retry_after_seconds=_NO_SAMPLER_RETRY_SECONDS,
        )
    # While the roster was read, another request may have had the picture rendered.
    until = gateway.mailbox.deadline(begun_at)
    return gateway.pictures.find(etag) or await gateway.pictures.render(spec, target.place, request, until)


def _require_whole_path(query: SamplesQuery) -> None:
    if query.to is None:
        if query.at is not None:
            raise parameter_error(
                "at", "at is a point on the path from seed to another seed; give `to` as well."
            )
        return
    if query.seed is None or query.seed == query.to:
        detail = f"to is {query.to}: a path begins at a `seed` other than that; give one."
        raise parameter_error("seed", detail)
    if (query.count == 1) is (query.at is None):
        detail = (
            "Of a path, give either `count`, at least 2, for a sheet, or `at`, 0 to 1, for one point of it."
        )
        raise parameter_error("count", detail)


def _seed(query: SamplesQuery) -> int:
    _require_whole_path(query)
    if query.seed is not None and query.to is not None:
        return query.seed
    last_start = MAX_SEED - query.count + 1
    if query.seed is None:
        return secrets.randbelow(last_start + 1)
    if query.seed > last_start:
        detail = (
            f"count is {query.count}, so the sheet would run past the last seed, {MAX_SEED}; "
            f"lower count, or lower seed to {last_start} or less."
        )
        raise parameter_error("count", detail)
    return query.seed


@lru_cache(maxsize=1024)
def _described(
    query: SamplesQuery, chosen: SampleFormat, seed: int, digest: str, renderer: str
) -> tuple[SampleSpec, str, Mapping[str, str]]:
    """The requested spec, its ETag and headers; cached, as they are a third of a cached picture's work."""
    if query.to is None:
        spec = SampleSpec.of_seeds(digest, chosen, range(seed, seed + query.count), query)
    else:
        ends = seed, query.to
        spec = SampleSpec.of_path(digest, chosen, ends, query, count=query.count, at=query.at)
    return spec, etag_of(spec, renderer), _headers(spec, query)


def _headers(spec: SampleSpec, query: SamplesQuery) -> dict[str, str]:
    headers = {"X-Seed": str(spec.seed), "X-Model-Digest": spec.digest}
    if query.format is None:
        headers["Vary"] = "Accept"
    if query.seed is not None and reference_kind(query.model or LATEST) == "digest":
        return {**headers, "Cache-Control": PINNED}
    address = spec.address()
    assert address is not None
    caching = "no-store" if query.seed is None else "no-cache"
    return {**headers, "Cache-Control": caching, "Content-Location": address}
