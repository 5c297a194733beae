"""What clients see of datasets: a snapshot of the record and, once prepared, what the archive contains."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field

from contract.dataset import DatasetSpec, RejectedFile
from contract.job import Failure, Progress, State
from contract.plugin import Frozen
from service.manifests import ManifestSummary
from service.store import Standing
from service.views import WaitingFor, fraction, stalled_reason, times, waiting_for

DatasetState = Literal["queued", "preparing", "paused", "ready", "failed", "cancelled"]
DATASET_STATE: dict[State, DatasetState] = {
    State.QUEUED: "queued",
    State.RUNNING: "preparing",
    State.PAUSED: "paused",
    State.SUCCEEDED: "ready",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
"""What clients see, by the state of the record."""


class DatasetProgress(Frozen):
    """How many files of the archive have been decoded."""

    done: int
    total: int
    fraction: float = Field(ge=0, le=1)


class Dataset(Frozen):
    """An uploaded archive of images and, once it is ready, what it contains."""

    id: str = Field(examples=["ds_3k9w0q2m5x7a1b4c"])
    name: str | None = Field(examples=["flowers"])
    state: DatasetState
    stalled: bool
    stalled_reason: str | None
    waiting_for: WaitingFor | None = Field(
        description="Set while its preparation waits because the volume accepts no files; else null."
    )
    bytes: int
    progress: DatasetProgress | None
    queue_position: int | None
    attempt: int
    images: int | None = Field(
        None,
        description="Usable pictures. This and what follows is null until ready, or if it cannot be read.",
    )
    held_out_images: int | None = Field(
        None, description="Those kept for evaluation; where they are fewer than 16, they are trained on, too."
    )
    rejected_images: int | None = None
    rejected: tuple[RejectedFile, ...] | None = Field(
        None, description="Rejected files with reasons, the first 1,000; omitted from lists."
    )
    duplicate_images: int | None = None
    channels: Literal[1, 3] | None = None
    median_width: int | None = None
    median_height: int | None = None
    content_hash: str | None = None
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    revision: int
    links: dict[str, str]

    @classmethod
    def of(cls, standing: Standing, manifest: ManifestSummary | None) -> Self:
        record = standing.record
        spec = DatasetSpec.model_validate_json(record.spec)
        found: dict[str, Any] = manifest.model_dump() if manifest else {}
        return cls(
            id=record.id,
            name=spec.name,
            state=DATASET_STATE[record.state],
            stalled=standing.is_stalled,
            stalled_reason=stalled_reason(standing),
            waiting_for=waiting_for(record),
            bytes=spec.bytes,
            progress=_dataset_progress(record.progress),
            queue_position=standing.queue_position,
            attempt=record.attempt,
            error=record.error,
            **times(record),
            revision=record.revision,
            links={"self": f"/datasets/{record.id}", "train": "/jobs"},
            **found,
        )


def _dataset_progress(progress: Progress | None) -> DatasetProgress | None:
    if progress is None:
        return None
    return DatasetProgress(done=progress.done, total=progress.total, fraction=fraction(progress))
