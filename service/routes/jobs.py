"""Training jobs: submit, list, show, control and delete them."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import Field

from contract.errors import ErrorCode, ServiceError
from contract.forgetting import forget_job
from contract.job import Record, State, Want
from contract.keys import RecordKind, Role
from contract.plugin import Frozen
from contract.submission import Idempotency, Submission, read_webhook
from contract.training import JobRequest, TrainingSpec, require_within_limits, resolve
from contract.volume import Volume
from contract.webhook import Webhook
from service import deletion, records
from service.gateway import Gateway, Here
from service.idempotency_key import IdempotencyKey
from service.job_views import DryRun, Job, JobState, job_state
from service.manifests import ManifestSummary
from service.openapi import read_problems, write_problems
from service.pages import ListQuery, link_next, readable
from service.receivers import require_public
from service.steering import steer
from service.store import Standing
from service.submitting import find_made, queue_job, require_dataset, show_made
from service.trainers import require_trainer
from service.views import Page

logger = logging.getLogger(__name__)

router = APIRouter(tags=["jobs"])

JobPath = Annotated[str, Path(description="The job's id.", examples=["job_7f2d9k0w3q5m8x1a"])]
_EXAMPLES: Any = {
    "smallest": {"summary": "All defaults", "value": {"dataset": "ds_3k9w0q2m5x7a1b4c"}},
    "chosen": {
        "summary": "Resolution, length and learning rates of your own",
        "value": {
            "dataset": "ds_3k9w0q2m5x7a1b4c",
            "preset": "quality",
            "name": "flowers",
            "resolution": 64,
            "images": 500_000,
            "generator_learning_rate": 1e-4,
            "architecture": {"kind": "dcgan", "generator_width": 48},
        },
    },
}
_CANCELLING_SECONDS = 2.0
"""After which a job may be cancelled."""
_CONTROL_PROBLEMS = write_problems(
    ErrorCode.JOB_NOT_FOUND, ErrorCode.RECORD_DELETED, ErrorCode.JOB_STATE_CONFLICT
)
_MADE_BEFORE: dict[int | str, Any] = {
    200: {"model": Job, "description": "The job that this Idempotency-Key created before."}
}
_NOTHING_QUEUED: dict[int | str, Any] = {
    200: {
        "model": Job | DryRun,
        "description": "With `dry_run`, the estimate; otherwise the job that this key created before.",
    }
}


class JobsQuery(ListQuery):
    """Which jobs to list."""

    state: State | None = Field(
        None, description="Only jobs in this state; `running` includes those pausing and cancelling."
    )


class JobsCommand(Frozen):
    """How to submit a job."""

    dry_run: bool = Field(
        default=False,
        description="Validate and estimate only. Refuses exactly what a real submission would, but queues "
        "and writes nothing and uses up no Idempotency-Key. The answer is 200 with `spec` and `estimate`.",
    )


@router.post(
    "/jobs",
    status_code=202,
    response_model=Job,
    operation_id="createJob",
    summary="Train a generator",
    responses={
        **write_problems(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            ErrorCode.BODY_TOO_LARGE,
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.DATASET_NOT_FOUND,
            ErrorCode.RECORD_DELETED,
            ErrorCode.DATASET_NOT_READY,
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
            ErrorCode.NO_TRAINER,
            ErrorCode.TRAINER_BUSY,
            ErrorCode.TRAINER_TIMEOUT,
            ErrorCode.ESTIMATE_FAILED,
        ),
        **_NOTHING_QUEUED,
    },
)
async def create_job(
    gateway: Here,
    response: Response,
    command: Annotated[JobsCommand, Query()],
    asked: Annotated[JobRequest, Body(openapi_examples=_EXAMPLES)],
    idempotency_key: IdempotencyKey,
) -> Job | Response:
    """Only `dataset` is required. The answer's `spec` shows what was chosen for everything else.

    With `dry_run=true`, a trainer only estimates what the job would take: memory, seconds, evaluations.

    Memory is not checked here, because only a trainer can, and that takes seconds. A job that does not fit
    its trainer is accepted, and fails with `insufficient_memory` when its turn comes, before its first step.
    While other jobs are ahead of it, ask with `dry_run=true` first: `estimate.error` then says so at once.
    """
    if command.dry_run:
        return await _dry_run(gateway, asked)
    said = asked.model_dump(mode="json", exclude_unset=True)
    idempotency = Idempotency.of(idempotency_key, said)
    if made := await find_made(gateway, idempotency):
        return show_made(response, made)
    spec, _ = await _resolved(gateway, asked)
    submission = Submission(
        submitter=asked.submitter, priority=asked.priority, idempotency=idempotency, webhook=asked.webhook
    )
    return await queue_job(gateway, response, spec, submission)


async def _dry_run(gateway: Gateway, asked: JobRequest) -> Response:
    spec, pictures = await _resolved(gateway, asked)
    require_trainer(await gateway.roster.roles(), "to estimate the job")
    estimate = await gateway.estimates.ask(spec, pictures)
    told = DryRun.of(spec, estimate, await gateway.store.largest_trainer())
    return Response(told.model_dump_json(), media_type="application/json")


async def _resolved(gateway: Gateway, asked: JobRequest) -> tuple[TrainingSpec, ManifestSummary]:
    """Return what would be trained, and on what. Raises if the job would be refused."""
    require_public(gateway.settings, asked.webhook)
    await require_dataset(gateway, asked.dataset)
    pictures = await gateway.manifests.read(asked.dataset)
    return resolve(asked, pictures), pictures


@router.get(
    "/jobs",
    response_model=Page[Job],
    operation_id="listJobs",
    summary="List the jobs, the newest first",
    responses=read_problems(ErrorCode.INVALID_REQUEST),
)
async def list_jobs(gateway: Here, response: Response, query: Annotated[JobsQuery, Query()]) -> Page[Job]:
    """Follow `next`, or the `Link` header, to the next page."""
    await records.require_rebuilt(gateway)
    standings, following = await gateway.store.page(
        RecordKind.JOB, state=query.state, after=query.after, limit=query.limit
    )
    return Page(
        items=tuple(readable(Job.of, standings)),
        next=link_next(response, "/jobs", following, state=query.state, limit=str(query.limit)),
    )


@router.get(
    "/jobs/{job_id}",
    response_model=Job,
    operation_id="getJob",
    summary="Show a job",
    responses=read_problems(ErrorCode.JOB_NOT_FOUND, ErrorCode.RECORD_DELETED),
)
async def get_job(gateway: Here, job_id: JobPath) -> Job:
    """Returns its state, progress, estimated finish, queue position, losses, checkpoints and error."""
    return await records.show(gateway, RecordKind.JOB, job_id, Job.of)


@router.post(
    "/jobs/{job_id}/cancel",
    status_code=202,
    response_model=Job,
    operation_id="cancelJob",
    summary="Cancel a job",
    responses=_CONTROL_PROBLEMS,
)
async def cancel_job(gateway: Here, job_id: JobPath) -> Job:
    """Ends the job permanently and keeps its checkpoints."""
    return await steer(gateway, job_id, Want.CANCEL)


@router.post(
    "/jobs/{job_id}/pause",
    status_code=202,
    response_model=Job,
    operation_id="pauseJob",
    summary="Pause a job",
    responses=_CONTROL_PROBLEMS,
)
async def pause_job(gateway: Here, job_id: JobPath) -> Job:
    """The job saves its state and frees its devices until it is resumed."""
    return await steer(gateway, job_id, Want.PAUSE)


@router.post(
    "/jobs/{job_id}/resume",
    status_code=202,
    response_model=Job,
    operation_id="resumeJob",
    summary="Resume a paused job",
    responses=_CONTROL_PROBLEMS,
)
async def resume_job(gateway: Here, job_id: JobPath) -> Job:
    """The job continues from where it was paused, bit for bit."""
    job = await steer(gateway, job_id, Want.RUN)
    gateway.bell.ring(Role.TRAIN)
    return job


@router.post(
    "/jobs/{job_id}/retry",
    status_code=202,
    response_model=Job,
    operation_id="retryJob",
    summary="Retry a failed or cancelled job",
    responses={
        **write_problems(
            ErrorCode.INVALID_REQUEST,
            ErrorCode.JOB_NOT_FOUND,
            ErrorCode.RECORD_DELETED,
            ErrorCode.JOB_STATE_CONFLICT,
            ErrorCode.DATASET_NOT_FOUND,
            ErrorCode.DATASET_NOT_READY,
            ErrorCode.IDEMPOTENCY_KEY_REUSED,
        ),
        **_MADE_BEFORE,
    },
)
async def retry_job(
    gateway: Here, response: Response, job_id: JobPath, idempotency_key: IdempotencyKey
) -> Job:
    """Creates a new job with the same spec, which starts from the beginning. The old one is unchanged."""
    idempotency = Idempotency.of(idempotency_key, {"retry_of": job_id})
    if made := await find_made(gateway, idempotency):
        return show_made(response, made)
    failed, spec = await records.show(gateway, RecordKind.JOB, job_id, _record_and_spec)
    if failed.state not in (State.FAILED, State.CANCELLED):
        detail = f"{job_id} is {job_state(failed)}; only failed and cancelled jobs can be retried."
        raise ServiceError(ErrorCode.JOB_STATE_CONFLICT, detail)
    _require_within_limits_again(spec)
    await require_dataset(gateway, spec.dataset)
    submission = Submission(
        submitter=failed.submitter,
        priority=failed.priority,
        idempotency=idempotency,
        retry_of=job_id,
        webhook=await gateway.on_volume(_webhook, gateway.volume, job_id) if failed.webhook else None,
    )
    return await queue_job(gateway, response, spec, submission)


def _record_and_spec(standing: Standing) -> tuple[Record, TrainingSpec]:
    return standing.record, TrainingSpec.model_validate_json(standing.record.spec)


def _webhook(volume: Volume, job_id: str) -> Webhook | None:
    """The job's webhook, which is on the volume alone; refused, rather than dropped, if it cannot be read."""
    path = volume.submission(job_id)
    try:
        return read_webhook(path)
    except ValueError as error:
        logger.warning("%s cannot be read: %s", path, error)
        detail = (
            f"The file {path.name} of {job_id}, with its webhook, cannot be read from the volume. Restore it"
            f" from a backup, or submit the job's spec, as GET /jobs/{job_id} shows it, with POST /jobs."
        )
        raise ServiceError(ErrorCode.JOB_STATE_CONFLICT, detail) from None


def _require_within_limits_again(spec: TrainingSpec) -> None:
    """Check the limits again, for jobs that predate them; their spec cannot be corrected here."""
    try:
        require_within_limits(spec)
    except ServiceError as refusal:
        detail = (
            f"This job's spec is no longer accepted: {refusal.detail} Submit the corrected spec with POST "
            "/jobs."
        )
        raise ServiceError(ErrorCode.INVALID_REQUEST, detail) from None


@router.delete(
    "/jobs/{job_id}",
    status_code=204,
    operation_id="deleteJob",
    summary="Delete a finished job",
    responses=write_problems(
        ErrorCode.JOB_NOT_FOUND,
        ErrorCode.RECORD_DELETED,
        ErrorCode.JOB_STATE_CONFLICT,
        ErrorCode.JOB_IN_USE,
    ),
)
async def delete_job(gateway: Here, job_id: JobPath) -> None:
    """Permanently deletes its record, checkpoints and previews."""
    record = (await records.find(gateway, RecordKind.JOB, job_id)).record
    if not record.state.is_terminal:
        raise _live(record)
    outcome, by = await deletion.delete(gateway, job_id, forget_job(job_id))
    if outcome == "live":  # a rebuild has revived it since
        raise _live((await records.find(gateway, RecordKind.JOB, job_id)).record)
    if outcome == "aliased":
        detail = f"The alias {by} points to {job_id}; move it with PUT /models/{by}, or delete it, first."
        raise ServiceError(ErrorCode.JOB_IN_USE, detail)


def _live(record: Record) -> ServiceError:
    state = job_state(record)
    if state is JobState.CANCELLING:
        detail = f"{record.id} is {state}; wait until it is cancelled, and then delete it."
        return ServiceError(ErrorCode.JOB_STATE_CONFLICT, detail, retry_after_seconds=_CANCELLING_SECONDS)
    detail = (
        f"{record.id} is {state}; POST /jobs/{record.id}/cancel first, and delete it once it is cancelled."
    )
    return ServiceError(ErrorCode.JOB_STATE_CONFLICT, detail)
