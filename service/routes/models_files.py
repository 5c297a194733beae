"""Generators as files: export and import."""

from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from contract.errors import ErrorCode
from contract.identifiers import reference_kind
from contract.plugin import Frozen
from contract.workshop import SUFFIXES, ExportFormat
from service.caching import PINNED
from service.exporting import exported
from service.gateway import Here
from service.importing import MEDIA_TYPES, take_in
from service.model_views import Model
from service.openapi import BINARY, read_problems, write_problems
from service.preconditions import Conditions
from service.references import Target, lasting, with_generator
from service.routes.models import ReferencePath
from service.stored_files import StoredFile, send

router = APIRouter(tags=["models"])

_FILE = {"application/octet-stream": BINARY}
_OF_A_TRAINER = (
    ErrorCode.NO_TRAINER,
    ErrorCode.TRAINER_BUSY,
    ErrorCode.TRAINER_TIMEOUT,
    ErrorCode.WORKSHOP_FAILED,
    ErrorCode.STORE_FULL,
)


class ExportQuery(Frozen):
    """In which format to export."""

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
            ErrorCode.EXPORT_UNAVAILABLE,
            ErrorCode.PRECONDITION_FAILED,
            ErrorCode.RANGE_NOT_SATISFIABLE,
            *_OF_A_TRAINER,
        ),
        200: {"description": "The file; its SHA-256 is the `ETag`.", "content": _FILE},
        206: {"description": "The part that `Range` requests.", "content": _FILE},
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
    """Every file has been verified to give the same images as the service."""

    async def find(target: Target) -> tuple[Target, StoredFile]:
        return target, await exported(gateway, target, query.format)

    target, file = await with_generator(gateway, reference, find)
    with ExitStack() as undo:
        undo.callback(file.content.close)
        is_fixed = reference_kind(reference) == "digest" and file.digest == target.digest
        headers = {
            "ETag": f'"{file.digest}"',
            "X-Model-Digest": target.digest,
            "Cache-Control": PINNED if is_fixed else "no-cache",
            "Content-Location": f"/models/{target.digest}/export?format={query.format}",
        }
        conditions.require(headers["ETag"], "the file")
        if conditions.has(headers["ETag"]):
            return Response(status_code=304, headers=headers)
        name = f"{target.digest.removeprefix('sha256:')[:16]}.{SUFFIXES[query.format]}"
        undo.pop_all()
    return send(request, file, name, headers)


@router.post(
    "/models",
    status_code=201,
    response_model=Model,
    operation_id="importModel",
    summary="Import a generator",
    responses={
        **write_problems(
            ErrorCode.NOT_A_CHECKPOINT,
            ErrorCode.CHECKPOINT_UNREADABLE,
            ErrorCode.BODY_EMPTY,
            ErrorCode.BODY_TOO_LARGE,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.IMPORTS_FULL,
            *_OF_A_TRAINER,
        ),
        200: {"model": Model, "description": "It had been imported before."},
    },
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES, BINARY)}},
)
async def import_model(request: Request, response: Response, gateway: Here) -> Model:
    """Send a checkpoint that was written by any instance of this service. It is then served by its digest."""
    digest, is_new = await take_in(request, gateway)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/models/{digest}"
    return Model.of_target(await lasting(gateway, digest))
