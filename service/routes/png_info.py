"""Reads back what made a PNG of this service."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from contract.errors import ErrorCode, ServiceError
from contract.identifiers import DIGEST_EXAMPLE
from contract.plugin import Frozen
from contract.recipe import read_recipe
from contract.sampling import SampleSpec
from service.body_length import declared_length
from service.gateway import Gateway, Here
from service.openapi import BINARY, read_problems
from service.png_text import read_texts
from service.receiving import bounded, require_type
from service.references import of_digest

router = APIRouter(tags=["samples"])

MAX_PNG_BYTES = 2**26
"""More than any PNG of this service, with at most 2^24 pixels of three bytes each."""
_TYPES = ("image/png", "application/octet-stream")


class PngInfo(Frozen):
    """What made a picture, according to its text chunks."""

    digest: str = Field(description="The generator's digest.", examples=[DIGEST_EXAMPLE])
    seeds: tuple[int, ...] = Field(
        description="The tiles' seeds, in order; empty for paths, which `url` tells, and for latents.",
        examples=[[7]],
    )
    options: dict[str, Any] = Field(
        description="The options of the request that were not at their defaults.", examples=[{"scale": 4}]
    )
    url: str | None = Field(
        description="Gives the same picture again; null if there is no such address.",
        examples=[f"/samples?model={DIGEST_EXAMPLE}&seed=7&scale=4&format=png"],
    )
    body: dict[str, Any] | None = Field(
        description="If `url` is null: the body for which `POST /samples` gives the picture.",
        examples=[None],
    )
    is_known: bool = Field(description="Whether the generator is here, so that `url` or `body` works.")


@router.post(
    "/png-info",
    response_model=PngInfo,
    operation_id="readPngInfo",
    summary="Read back what made a PNG",
    responses=read_problems(
        ErrorCode.FOREIGN_ORIGIN,
        ErrorCode.NOT_A_PNG,
        ErrorCode.NO_RECIPE,
        ErrorCode.BODY_EMPTY,
        ErrorCode.BODY_TOO_LARGE,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ),
    openapi_extra={"requestBody": {"required": True, "content": {_TYPES[0]: BINARY}}},
)
async def read_png_info(request: Request, gateway: Here) -> PngInfo:
    """Send the file as the raw body. Only its text chunks are read, which anyone may have forged."""
    _require_png(request)
    spec = _spec(await read_texts(_pieces(request)))
    return PngInfo(
        digest=spec.digest,
        seeds=tuple(spec.seeds),
        options=spec.chosen(),
        url=spec.address(),
        body=None if spec.address() else spec.body(),
        is_known=await _is_known(gateway, spec.digest),
    )


async def _is_known(gateway: Gateway, digest: str) -> bool:
    try:
        await of_digest(gateway, digest)
    except ServiceError as error:
        if error.code is not ErrorCode.MODEL_NOT_FOUND:
            raise
        return False
    return True


def _require_png(request: Request) -> None:
    require_type(request, _TYPES, f"the file as {' or '.join(_TYPES)}")
    if declared_length(request) > MAX_PNG_BYTES:
        raise _too_large()


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    is_empty = True
    async for piece in bounded(request.stream(), MAX_PNG_BYTES, _too_large()):
        is_empty = is_empty and not piece
        yield piece
    if is_empty:
        raise ServiceError(ErrorCode.BODY_EMPTY, "The body is empty; send a PNG from this service.")


def _too_large() -> ServiceError:
    detail = f"The body exceeds {MAX_PNG_BYTES:,} bytes, more than any PNG this service produces."
    return ServiceError(ErrorCode.BODY_TOO_LARGE, detail)


def _spec(texts: dict[str, str]) -> SampleSpec:
    try:
        spec = read_recipe(texts)
    except ValueError:
        detail = "The PNG contains a recipe that this version cannot read, or that was altered."
        raise ServiceError(ErrorCode.NO_RECIPE, detail) from None
    if spec is None:
        detail = (
            "The PNG does not say what made it: it is not from this service, or a program that saved it "
            "again dropped its text chunks. Send the file as it was served."
        )
        raise ServiceError(ErrorCode.NO_RECIPE, detail)
    return spec
