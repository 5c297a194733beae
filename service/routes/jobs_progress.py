"""The progress of a job: its events, previews and checkpoints."""

import pathlib
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from contract.errors import ErrorCode, ServiceError
from contract.keys import RecordKind
from contract.plugin import Frozen
from service import records
from service.accept import negotiate
from service.caching import PINNED
from service.events import EventLog, JobEvent, stream
from service.gateway import Here
from service.job_views import Checkpoint
from service.openapi import BINARY, read_problems
from service.routes.jobs import JobPath

router = APIRouter(tags=["jobs"])

_EVENT_STREAM = "text/event-stream"
_JSON = "application/json"
_PROBLEMS = read_problems(ErrorCode.JOB_NOT_FOUND, ErrorCode.RECORD_DELETED)


class EventsQuery(Frozen):
    """Which events to return."""

    after: int = Field(0, ge=0, le=2**62, description="The id of the last event you have.")
    last_event_id: int | None = Field(
        None, ge=0, le=2**62, description="The same, in place of the header Last-Event-ID."
    )
    limit: int = Field(500, ge=1, le=5000, description="As JSON: the most events in one answer.")


class Events(Frozen):
    """Part of a job's event log, the oldest first."""

    events: tuple[JobEvent, ...]
    next: str = Field(
        description="Address of what follows. An empty list means nothing new yet, not the end of the job."
    )


class Preview(Frozen):
    """A sheet of samples of the same latents in every preview, so that progress is visible."""

    images_seen: int
    url: str


@router.get(
    "/jobs/{job_id}/events",
    response_model=Events,
    operation_id="watchJob",
    summary="Watch a job's events",
    responses={
        **read_problems(
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.RECORD_DELETED,
            ErrorCode.INVALID_REQUEST,
            ErrorCode.NOT_ACCEPTABLE,
        ),
        200: {"content": {_EVENT_STREAM: {"schema": {"type": "string"}}}},
        204: {"description": "The job is over and you have every event: do not reconnect."},
    },
)
async def watch_job(
    request: Request,
    gateway: Here,
    job_id: JobPath,
    query: Annotated[EventsQuery, Query()],
    last_event_id: Annotated[str | None, Header(description="Replay what came after this event.")] = None,
) -> Response:
    """Streams server-sent events until the job ends; with `Accept: application/json`, returns a list.

    An event's id is the job's revision after it. Reconnecting with `Last-Event-ID` neither misses nor repeats
    any.
    """
    media_type = negotiate(request, (_EVENT_STREAM, _JSON))
    await records.find(gateway, RecordKind.JOB, job_id)
    after = _last_event_id(last_event_id, query)
    if media_type == _JSON:
        return await _list_events(EventLog(gateway, job_id), job_id, after, query.limit)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"}
    if after and await EventLog(gateway, job_id).has_ended(after):
        return Response(status_code=204, headers=headers)
    return StreamingResponse(stream(gateway, job_id, after), media_type=_EVENT_STREAM, headers=headers)


def _last_event_id(header: str | None, query: EventsQuery) -> int:
    if header is not None and header.isascii() and header.isdecimal():
        return min(int(header[:19]), 2**62)
    return query.after if query.last_event_id is None else query.last_event_id


async def _list_events(log: EventLog, job_id: str, after: int, limit: int) -> Response:
    events = await log.after(after, limit)
    last = events[-1].id if events else after
    page = Events(
        events=tuple(map(JobEvent.of, events)), next=f"/jobs/{job_id}/events?after={last}&limit={limit}"
    )
    headers = {"Cache-Control": "no-store", "Vary": "Accept", "Link": f'<{page.next}>; rel="next"'}
    return Response(page.model_dump_json(), headers=headers, media_type=_JSON)


@router.get(
    "/jobs/{job_id}/previews",
    response_model=tuple[Preview, ...],
    operation_id="listPreviews",
    summary="List a job's previews, the newest first",
    responses=_PROBLEMS,
)
async def list_previews(gateway: Here, job_id: JobPath) -> tuple[Preview, ...]:
    """All previews of a job show the same latents, so that progress is visible."""
    await records.find(gateway, RecordKind.JOB, job_id)
    found = await gateway.on_volume(_previews, gateway.volume.previews(job_id))
    return tuple(Preview(images_seen=seen, url=f"/jobs/{job_id}/previews/{seen}.png") for seen in found)


def _previews(directory: pathlib.Path) -> list[int]:
    """The images_seen of every preview on the volume, the newest first."""
    names = (path.stem for path in directory.glob("*.png")) if directory.is_dir() else ()
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


@router.get(
    "/jobs/{job_id}/previews/{images_seen}.png",
    operation_id="getPreview",
    summary="Fetch a preview",
    response_class=Response,
    responses={
        **read_problems(
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.RECORD_DELETED,
            ErrorCode.PREVIEW_NOT_FOUND,
            ErrorCode.INVALID_REQUEST,
        ),
        200: {"content": {"image/png": BINARY}},
    },
)
async def get_preview(
    gateway: Here,
    job_id: JobPath,
    images_seen: Annotated[
        int,
        Path(ge=0, le=10**11, description="How many images the job had been trained on.", examples=[50_000]),
    ],
) -> Response:
    """A preview is written once and never changes."""
    await records.find(gateway, RecordKind.JOB, job_id)
    try:
        content = await gateway.on_volume(gateway.volume.preview(job_id, images_seen).read_bytes)
    except FileNotFoundError:
        detail = f"{job_id} has no preview at {images_seen} images; GET /jobs/{job_id}/previews lists them."
        raise ServiceError(ErrorCode.PREVIEW_NOT_FOUND, detail) from None
    return Response(content, media_type="image/png", headers={"Cache-Control": PINNED})


@router.get(
    "/jobs/{job_id}/checkpoints",
    response_model=tuple[Checkpoint, ...],
    operation_id="listCheckpoints",
    summary="List a job's checkpoints, the newest first",
    responses=_PROBLEMS,
)
async def list_checkpoints(gateway: Here, job_id: JobPath) -> tuple[Checkpoint, ...]:
    """Each is a generator that `GET /samples` serves by its digest, for as long as the job exists."""
    standing = await records.find(gateway, RecordKind.JOB, job_id)
    return tuple(Checkpoint.of(fact) for fact in standing.checkpoints)
