"""What the views of all records share: pages, times, what a record waits for and why it is stalled."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, Self, TypeVar

from pydantic import Field, ValidationError

from contract.durable import Lack
from contract.identifiers import kind_of
from contract.job import Progress, Record, Shortage
from contract.plugin import Frozen
from service.refusals import of_another_version
from service.store import Standing

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Page(Frozen, Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next: str | None = Field(None, description="Address of the following page; null on the last.")


class WaitingFor(Frozen):
    """What must change outside for the work to continue. It then continues by itself, where it stopped."""

    code: Lack = Field(examples=["volume_full"])
    detail: str = Field(
        description="What is needed, and what to do.",
        examples=[
            "The volume is full: 5,242,880 bytes are needed in /data/jobs/job_7f2d9k0w3q5m8x1a/resume, "
            "and 1,204,224 are free. Delete jobs or datasets, or make the volume larger. "
            "The work then continues by itself."
        ],
    )
    needed_bytes: int = Field(description="How many bytes must be free.", examples=[5_242_880])
    free_bytes: int | None = Field(
        description="How many are free; null where that is not known.", examples=[1_204_224]
    )
    since: datetime

    @classmethod
    def of(cls, shortage: Shortage) -> Self:
        return cls(
            code=shortage.code,
            detail=shortage.detail,
            needed_bytes=shortage.needed_bytes,
            free_bytes=shortage.free_bytes,
            since=from_ms(shortage.since_ms),
        )


def viewed(standing: Standing, view: Callable[[Standing], T]) -> T:
    """Return a view of a record.

    Raises:
        ServiceError: another version wrote its spec, and this one cannot read it.
    """
    try:
        return view(standing)
    except ValidationError as error:
        record_id = standing.record.id
        logger.warning("%s: this version cannot read its spec: %s", record_id, error)
        raise of_another_version(kind_of(record_id), record_id) from error


def stalled_reason(standing: Standing) -> str | None:
    """Why a record is stalled, in words."""
    if standing.is_too_large:
        assert standing.largest_trainer is not None
        why = too_many(standing.record.devices, standing.largest_trainer)
        return f"{why}, or cancel it and ask for fewer."
    lease = standing.record.lease_until_ms
    if not standing.is_stalled or lease is None:
        return None
    seconds = (standing.now_ms - lease) / 1000
    return (
        f"The lease of the worker {standing.record.owner} ran out {seconds:.0f} s ago; another takes over "
        "as soon as this one is declared dead."
    )


def too_many(devices: int, largest_trainer: int) -> str:
    """Why no trainer starts a job that requests this many devices."""
    return (
        f"It needs {devices} devices, but the largest living trainer owns {largest_trainer}; "
        f"start one with DCGAN_DEVICES={devices}"
    )


def waiting_for(record: Record) -> WaitingFor | None:
    return WaitingFor.of(record.waiting_for) if record.waiting_for else None


def fraction(progress: Progress) -> float:
    return min(progress.done / progress.total, 1.0) if progress.total else 0.0


def times(record: Record) -> dict[str, Any]:
    return {
        "created_at": from_ms(record.created_us // 1000),
        "started_at": from_ms(record.started_ms) if record.started_ms else None,
        "finished_at": from_ms(record.finished_ms) if record.finished_ms else None,
    }


def from_ms(milliseconds: int) -> datetime:
    """Convert Unix milliseconds to a time in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
