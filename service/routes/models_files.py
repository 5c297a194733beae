"""Generators as files: taken away to be used elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from contract.errors import ErrorCode
from contract.identifiers import reference_kind
from contract.plugin import Frozen
from contract.workshop import SUFFIXES, ExportFormat
from service.exporting import exported
from service.gateway import Here
from service.openapi import read_problems
from service.preconditions import Conditions
from service.references import resolve
from service.routes.models import ReferencePath
from service.stored_files import send

router = APIRouter(tags=["models"])

_PINNED = "public, max-age=31536000, immutable"
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


class ExportQuery(Frozen):
    """In which form."""

    format: ExportFormat = Field("safetensors", description="The checkpoint itself, or a program made of it.")


@router.head("/models/{reference}/export", include_in_schema=False)
@router.get(
    "/models/{reference}/export",
    operation_id="exportModel",
    summary="Fetch a generator as a file",
    response_class=Response,
    responses={
        **read_problems(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.MODEL_NOT_FOUND,
            ErrorCode.NO_MODEL_YET,
            ErrorCode.RECORD_DELETED,
            ErrorCode.CHECKPOINT_UNREADABLE,
        ),
        200: {"description": "The file; its SHA-256 is the `ETag`.", "content": _BINARY},
        206: {"description": "The part that `Range` asked for.", "content": _BINARY},
        304: {"description": "You have it: the `If-None-Match` you sent is its `ETag`."},
    },
)
async def export_model(
    request: Request,
    gateway: Here,
    reference: ReferencePath,
    query: Annotated[ExportQuery, Query()],
    conditions: Conditions,
) -> Response:
    """What is sent has been seen to give the images that the service gives."""
    target = await resolve(gateway, reference)
    path, digest = await exported(gateway, target, query.format)
    is_fixed = reference_kind(reference) == "digest" and digest == target.digest
    headers = {
        "ETag": f'"{digest}"',
        "X-Model-Digest": target.digest,
        "Cache-Control": _PINNED if is_fixed else "no-cache",
        "Content-Location": f"/models/{target.digest}/export?format={query.format}",
    }
    if conditions.has(headers["ETag"]):
        return Response(status_code=304, headers=headers)
    name = f"{target.digest.removeprefix('sha256:')[:16]}.{SUFFIXES[query.format]}"
    return send(request, path, name, headers)
