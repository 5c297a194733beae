"""Datasets: archives of images that are uploaded, prepared by a worker, then trained on."""

import asyncio
import time
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from contract.control import control
from contract.dataset import MAX_NAME_CHARACTERS, DatasetSpec
from contract.durable import publish_durably, write_durably
from contract.errors import ErrorCode, ServiceError
from contract.forgetting import forget_dataset
from contract.identifiers import new_dataset_id
from contract.job import State, Want
from contract.keys import RecordKind, Role
from contract.plugin import Frozen
from contract.submitting import submit
from service import archive, deletion, queueing, records
from service.dataset_views import Dataset
from service.gateway import Gateway, Here
from service.manifests import ManifestSummary
from service.openapi import BINARY, read_problems, write_problems
from service.pages import ListQuery, link_next, readable
from service.refusals import parameter_error
from service.store import Standing
from service.uploads import FORM_TYPE, RAW_TYPES, Upload, receive
from service.views import Page, viewed

router = APIRouter(tags=["datasets"])

DatasetPath = Annotated[str, Path(description="The dataset's id.", examples=["ds_3k9w0q2m5x7a1b4c"])]
_LET_GO_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {
            "file": {**BINARY["schema"], "description": "The zip archive."},
            "name": {"type": "string", "maxLength": MAX_NAME_CHARACTERS, "description": "A name for people."},
        },
    }
}


class UploadQuery(Frozen):
    """Parameters that accompany the archive."""

    name: str | None = Field(None, max_length=MAX_NAME_CHARACTERS, description="A name for people.")


@router.post(
    "/datasets",
    status_code=202,
    response_model=Dataset,
    operation_id="uploadDataset",
    summary="Upload a zip archive of images",
    responses=write_problems(
        ErrorCode.INVALID_REQUEST,
        ErrorCode.NOT_A_ZIP,
        ErrorCode.NO_IMAGES,
        ErrorCode.ARCHIVE_TOO_LARGE,
        ErrorCode.BODY_EMPTY,
        ErrorCode.BODY_TOO_LARGE,
        ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {**dict.fromkeys(RAW_TYPES[:2], BINARY), FORM_TYPE: _FORM},
        }
    },
)
async def upload_dataset(
    request: Request, response: Response, gateway: Here, query: Annotated[UploadQuery, Query()]
) -> Dataset:
    """Send the archive as the raw body, or as the part `file` of a form. A worker then decodes it.

    Sub-folders are fine. Files that look like pictures but cannot be decoded are listed as rejected, with
    reasons, once the dataset is ready; others are ignored.
    """
    await gateway.store.ping()  # before two gigabytes are sent
    async with receive(request, gateway, gateway.settings.max_upload_bytes) as upload:
        name = _name(upload, query)
        await gateway.on_volume(archive.inspect, upload.path)
        spec = DatasetSpec(name=name, bytes=upload.bytes)
        dataset_id = await _keep(gateway, upload, spec)
    gateway.bell.ring(Role.PREPARE)
    response.headers["Location"] = f"/datasets/{dataset_id}"
    return await _show(gateway, dataset_id)


def _name(upload: Upload, query: UploadQuery) -> str | None:
    if upload.name and len(upload.name) > MAX_NAME_CHARACTERS:
        detail = f"name has {len(upload.name)} characters; use {MAX_NAME_CHARACTERS} at most."
        raise parameter_error("name", detail)
    return upload.name or query.name


async def _keep(gateway: Gateway, upload: Upload, spec: DatasetSpec) -> str:
    dataset_id, text = new_dataset_id(), spec.model_dump_json()
    async with queueing.new_home(gateway, dataset_id):
        await gateway.on_volume(_publish, gateway, dataset_id, upload, text)
    await queueing.submit(gateway, dataset_id, submit(RecordKind.DATASET, dataset_id, text))
    return dataset_id


def _publish(gateway: Gateway, dataset_id: str, upload: Upload, spec: str) -> None:
    original = gateway.volume.original(dataset_id)
    gateway.volume.dataset(dataset_id).mkdir()
    original.parent.mkdir()
    publish_durably(upload.path, original)
    write_durably(gateway.volume.spec(dataset_id), spec.encode())


@router.get(
    "/datasets",
    response_model=Page[Dataset],
    operation_id="listDatasets",
    summary="List the datasets, the newest first",
    responses=read_problems(ErrorCode.INVALID_REQUEST),
)
async def list_datasets(
    gateway: Here, response: Response, query: Annotated[ListQuery, Query()]
) -> Page[Dataset]:
    """Follow `next`, or the `Link` header, to the next page."""
    await records.require_rebuilt(gateway)
    standings, following = await gateway.store.page(
        RecordKind.DATASET, state=None, after=query.after, limit=query.limit
    )
    manifests = {standing.record.id: await _manifest(gateway, standing) for standing in standings}
    views = readable(lambda standing: Dataset.of(standing, manifests[standing.record.id]), standings)
    return Page(
        items=tuple(view.model_copy(update={"rejected": None}) for view in views),
        next=link_next(response, "/datasets", following, limit=str(query.limit)),
    )


@router.get(
    "/datasets/{dataset_id}",
    response_model=Dataset,
    operation_id="getDataset",
    summary="Show a dataset",
    responses=read_problems(ErrorCode.DATASET_NOT_FOUND, ErrorCode.RECORD_DELETED),
)
async def get_dataset(gateway: Here, dataset_id: DatasetPath) -> Dataset:
    """Returns its state and, once it is ready, what the archive contains."""
    return await _show(gateway, dataset_id)


@router.delete(
    "/datasets/{dataset_id}",
    status_code=204,
    operation_id="deleteDataset",
    summary="Delete a dataset",
    responses=write_problems(ErrorCode.DATASET_NOT_FOUND, ErrorCode.RECORD_DELETED, ErrorCode.DATASET_IN_USE),
)
async def delete_dataset(gateway: Here, dataset_id: DatasetPath) -> None:
    """Permanently deletes the archive and everything derived from it. Finished jobs keep their generators.

    If the dataset is still being prepared, the preparation is stopped first.
    """
    await _let_go(gateway, dataset_id)
    forgetting = forget_dataset(dataset_id)
    while (reply := await deletion.delete(gateway, dataset_id, forgetting)).outcome == "live":
        await _let_go(gateway, dataset_id)  # a preparer has claimed it in between
    if reply.outcome == "used":
        detail = (
            f"The job {reply.by} uses {dataset_id}; cancel it or wait until it ends, then delete the dataset."
        )
        raise ServiceError(ErrorCode.DATASET_IN_USE, detail)


async def _let_go(gateway: Gateway, dataset_id: str) -> None:
    """Stop the preparation, and return once it no longer runs.

    Raises:
        ServiceError: `dataset_in_use` if that takes too long; the preparation has been told to stop.
    """
    until = time.monotonic() + _LET_GO_SECONDS
    while (await records.find(gateway, RecordKind.DATASET, dataset_id)).record.state is State.RUNNING:
        await gateway.store.run(control(RecordKind.DATASET, dataset_id, Want.CANCEL, "it is to be deleted"))
        if time.monotonic() > until:
            raise _being_prepared(dataset_id)
        await asyncio.sleep(_LOOK_SECONDS)


def _being_prepared(dataset_id: str) -> ServiceError:
    detail = (
        f"{dataset_id} is still being prepared; the preparation has been told to stop. Repeat the DELETE in "
        "a moment."
    )
    return ServiceError(ErrorCode.DATASET_IN_USE, detail, retry_after_seconds=_LOOK_SECONDS)


async def _show(gateway: Gateway, dataset_id: str) -> Dataset:
    standing = await records.find(gateway, RecordKind.DATASET, dataset_id)
    manifest = await _manifest(gateway, standing)
    return viewed(standing, lambda one: Dataset.of(one, manifest))


async def _manifest(gateway: Gateway, standing: Standing) -> ManifestSummary | None:
    """The summary, once prepared; None also if it cannot be read, which submitting a job reports."""
    if standing.record.state is State.SUCCEEDED:
        with suppress(ServiceError, OSError):
            return await gateway.manifests.read(standing.record.id)
    return None
