"""What clients see of jobs: a snapshot of the record, with links to the possible actions."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field

from contract.estimate import Estimate
from contract.evaluation import Evaluation, MetricsBasis
from contract.identifiers import DIGEST_EXAMPLE
from contract.job import CheckpointFact, Failure, Progress, Record, State, Want
from contract.plugin import Frozen
from contract.submission import Priority
from contract.training import TrainingSpec
from contract.webhook import DeliveryOutcome
from service.links import some_samples
from service.store import Standing
from service.views import WaitingFor, fraction, from_ms, stalled_reason, times, too_many, waiting_for


class JobState(StrEnum):
    """A job's state; `pausing` and `cancelling` mean requested, but not yet carried out."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSING = "pausing"
    CANCELLING = "cancelling"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_INTENDED = {Want.PAUSE: JobState.PAUSING, Want.CANCEL: JobState.CANCELLING}


class JobProgress(Frozen):
    """How many real images training has used."""

    images_seen: int = Field(examples=[25_600])
    total: int = Field(examples=[100_032])
    fraction: float = Field(ge=0, le=1, examples=[0.2559])
    images_per_second: float | None = None
    seconds_left: float | None = Field(
        None, description="As of this report; null while nothing moves.", examples=[241.5]
    )
    losses: dict[str, float] = Field(
        default_factory=dict, examples=[{"generator": 0.91, "discriminator": 0.58}]
    )

    @classmethod
    def of(cls, progress: Progress) -> Self:
        return cls(
            images_seen=progress.done,
            total=progress.total,
            fraction=fraction(progress),
            images_per_second=progress.images_per_second,
            seconds_left=progress.seconds_left,
            losses=progress.losses,
        )


class Checkpoint(Frozen):
    """A generator that can be sampled."""

    digest: str = Field(examples=[DIGEST_EXAMPLE])
    images_seen: int = Field(examples=[50_000])
    bytes: int = Field(examples=[14_301_244])
    metrics: dict[str, float] = Field(
        description="The figures of its evaluation by name; empty if it was not evaluated.",
        examples=[{"fd": 1.73, "precision": 0.71, "recall": 0.64}],
    )
    basis: MetricsBasis | None = Field(
        description="What the metrics were computed from. Null if there are none, or in old records."
    )
    links: dict[str, str]

    @classmethod
    def of(cls, fact: CheckpointFact) -> Self:
        return cls(
            digest=fact.digest,
            images_seen=fact.images_seen,
            bytes=fact.bytes,
            metrics=fact.metrics,
            basis=fact.basis,
            links={"samples": some_samples(fact.digest)},
        )


class WebhookStatus(Frozen):
    """The webhook that is notified of the job's end, and the status of its delivery."""

    origin: str = Field(
        description="The origin of its address; the rest is not shown.", examples=["https://example.com"]
    )
    delivery: DeliveryOutcome | Literal["pending"]
    problem: str | None = Field(
        description="What went wrong with the last attempt.", examples=["It answered 500."]
    )
    attempted_at: datetime | None

    @classmethod
    def of(cls, record: Record) -> Self | None:
        if record.webhook is None:
            return None
        told = record.told
        return cls(
            origin=record.webhook,
            delivery=(told and told.outcome) or "pending",
            problem=told.problem if told else None,
            attempted_at=from_ms(told.at_ms) if told else None,
        )


class Job(Frozen):
    """A training job."""

    id: str = Field(examples=["job_7f2d9k0w3q5m8x1a"])
    name: str | None = Field(examples=["flowers"])
    state: JobState
    stalled: bool = Field(
        description="The record says running but its worker no longer renews the lease; or the job is queued"
        " and no living trainer owns as many devices."
    )
    stalled_reason: str | None
    waiting_for: WaitingFor | None = Field(
        description="Set while it runs but waits because the volume accepts no files; else null."
    )
    dataset: str
    spec: TrainingSpec
    progress: JobProgress
    estimated_finish: datetime | None
    queue_position: int | None = Field(description="1 is next; null unless queued.")
    priority: Priority
    submitter: str
    retry_of: str | None = Field(description="The job that this one retries.")
    attempt: int = Field(description="How many times a worker has taken it up.")
    checkpoint: Checkpoint | None = Field(description="The best so far: what the job's id means as a model.")
    checkpoints: tuple[Checkpoint, ...] = Field(description="Newest first.")
    evaluation: Evaluation | None = Field(
        description="The latest; all of them are in the events of type `metric`."
    )
    error: Failure | None
    webhook: WebhookStatus | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    revision: int = Field(description="Rises with every change; the id of its newest event.")
    links: dict[str, str]

    @classmethod
    def of(cls, standing: Standing) -> Self:
        record = standing.record
        spec = TrainingSpec.model_validate_json(record.spec)
        progress = record.progress or Progress(done=0, total=spec.total_images)
        if record.state is not State.RUNNING or record.waiting_for or standing.is_stalled:
            progress = progress.model_copy(update={"seconds_left": None})
        return cls(
            id=record.id,
            name=spec.name,
            state=job_state(record),
            stalled=standing.is_stalled or standing.is_too_large,
            stalled_reason=stalled_reason(standing),
            waiting_for=waiting_for(record),
            dataset=spec.dataset,
            spec=spec,
            progress=JobProgress.of(progress),
            estimated_finish=_estimated_finish(standing.now_ms, progress.seconds_left),
            queue_position=standing.queue_position,
            priority=record.priority,
            submitter=record.submitter,
            retry_of=record.retry_of,
            attempt=record.attempt,
            checkpoint=Checkpoint.of(record.checkpoint) if record.checkpoint else None,
            checkpoints=tuple(Checkpoint.of(fact) for fact in standing.checkpoints),
            evaluation=record.evaluation,
            error=record.error,
            webhook=WebhookStatus.of(record),
            **times(record),
            revision=record.revision,
            links=_job_links(record.id, spec.dataset),
        )


class DryRun(Frozen):
    """What would be trained, and what it would take. Nothing was queued."""

    spec: TrainingSpec
    estimate: Estimate
    stalled_reason: str | None = Field(
        description="Why the job would only wait: no living trainer owns as many devices. Null if one does."
    )

    @classmethod
    def of(cls, spec: TrainingSpec, estimate: Estimate, largest_trainer: int) -> Self:
        waits = spec.devices > max(largest_trainer, 1)  # a trainer has just answered, even if it is gone now
        reason = f"{too_many(spec.devices, largest_trainer)}, or ask for fewer." if waits else None
        return cls(spec=spec, estimate=estimate, stalled_reason=reason)


def job_state(record: Record) -> JobState:
    """The state that clients see."""
    if record.state is State.RUNNING and record.want in _INTENDED:
        return _INTENDED[record.want]
    return JobState(record.state)


def _job_links(job_id: str, dataset_id: str) -> dict[str, str]:
    own = f"/jobs/{job_id}"
    parts = ("events", "previews", "checkpoints", "cancel", "pause", "resume", "retry")
    return {
        "self": own,
        "dataset": f"/datasets/{dataset_id}",
        "samples": some_samples(job_id),
        **{part: f"{own}/{part}" for part in parts},
    }


def _estimated_finish(now_ms: int, seconds_left: float | None) -> datetime | None:
    if seconds_left is None:
        return None
    try:
        return from_ms(now_ms) + timedelta(seconds=round(seconds_left))
    except OverflowError:  # at this speed, it would end after the year 9999
        return None
