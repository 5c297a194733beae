"""Submits jobs: onto the volume, then into the queue. A repeated request finds the job that it created."""

from fastapi import Response

from contract.durable import write_durably
from contract.errors import ErrorCode, FieldError, ServiceError
from contract.identifiers import new_job_id
from contract.job import State
from contract.keys import RecordKind, Role
from contract.submission import Idempotency, Submission
from contract.submitting import RememberedRequest, read_request, submit
from contract.training import TrainingSpec
from service import queueing, records
from service.dataset_views import DATASET_STATE
from service.gateway import Gateway
from service.job_views import Job
from service.refusals import being_rebuilt, store_unavailable

_PREPARING_SECONDS = 2.0
"""After which a dataset may be ready; most are within seconds."""


async def find_made(gateway: Gateway, idempotency: Idempotency | None) -> Job | None:
    """Return the job that this request has already created, if any.

    Raises:
        ServiceError: `idempotency_key_reused`; or any error of `records.find`, if that job was deleted.
    """
    if idempotency is None:
        return None
    made = await gateway.store.request(RecordKind.JOB, idempotency.key)
    return await _original(gateway, idempotency, made) if made else None


async def queue_job(gateway: Gateway, response: Response, spec: TrainingSpec, submission: Submission) -> Job:
    """Submit a job durably, and answer 202 with its `Location`; 200 if a request with this key was faster.

    Raises:
        ServiceError: `idempotency_key_reused`, `store_unavailable`, or any error of `require_dataset`.
    """
    job_id, text = new_job_id(), spec.model_dump_json()
    async with queueing.new_home(gateway, job_id):
        await gateway.on_volume(
            write_durably,
            gateway.volume.submission(job_id),
            submission.model_dump_json().encode(),
            mode=0o600,  # it contains the webhook's secret
        )
        await gateway.on_volume(write_durably, gateway.volume.spec(job_id), text.encode())
    command = submit(
        RecordKind.JOB, job_id, text, devices=spec.devices, dataset=spec.dataset, submission=submission
    )
    outcome, answer = await queueing.submit(gateway, job_id, command)
    if outcome == "unusable":
        await require_dataset(gateway, spec.dataset)  # raises: it was deleted meanwhile
        raise being_rebuilt()  # it has come back
    if outcome == "rebuilding":
        raise store_unavailable(
            "Redis was emptied, and it is not yet known whether this key has already created a job"
        )
    if outcome == "known":
        assert submission.idempotency
        return show_made(response, await _original(gateway, submission.idempotency, read_request(answer)))
    gateway.bell.ring(Role.TRAIN)
    response.status_code = 202
    response.headers["Location"] = f"/jobs/{job_id}"
    return await records.show(gateway, RecordKind.JOB, job_id, Job.of)


def show_made(response: Response, job: Job) -> Job:
    """Answer a repeated request like the first one, but with status 200, as nothing was created."""
    response.status_code = 200
    response.headers["Location"] = f"/jobs/{job.id}"
    return job


async def _original(gateway: Gateway, idempotency: Idempotency, made: RememberedRequest) -> Job:
    if made.fingerprint != idempotency.fingerprint:
        detail = (
            f"The Idempotency-Key {idempotency.key!r} has already created {made.id} from a different "
            "request; repeat that request, or choose a new key."
        )
        fields = (FieldError("Idempotency-Key", detail),)
        raise ServiceError(ErrorCode.IDEMPOTENCY_KEY_REUSED, detail, fields=fields)
    return await records.show(gateway, RecordKind.JOB, made.id, Job.of)


async def require_dataset(gateway: Gateway, dataset_id: str) -> None:
    """Raise unless the dataset can be trained on."""
    try:
        state = (await records.find(gateway, RecordKind.DATASET, dataset_id)).record.state
    except ServiceError as error:
        raise error.pointing_at((FieldError("/dataset", error.detail),)) from None
    if state is not State.SUCCEEDED:
        raise _not_ready(dataset_id, state)


def _not_ready(dataset_id: str, state: State) -> ServiceError:
    advice = {
        State.FAILED: f"GET /datasets/{dataset_id} says why; upload the images again.",
        State.CANCELLED: "upload the images again.",
    }.get(state, "wait until its state is ready.")
    detail = f"The dataset {dataset_id} is {DATASET_STATE[state]}, not ready: {advice}"
    return ServiceError(
        ErrorCode.DATASET_NOT_READY,
        detail,
        fields=(FieldError("/dataset", detail),),
        retry_after_seconds=None if state.is_terminal else _PREPARING_SECONDS,
    )
