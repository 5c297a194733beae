"""The commands for webhook deliveries (`lua/deliveries.lua`): each reports one job's end to one endpoint."""

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass

from contract.command import Command, command_of
from contract.keys import RecordKind
from contract.webhook import Endpoint, Notification


@dataclass(frozen=True)
class Delivery:
    """A delivery that is due, leased until it is settled."""

    job_id: str
    endpoint: Endpoint
    receiver: str  # the origin of a job's own webhook, or "global"
    submitter: str  # of the job
    lease: str
    age_seconds: float  # since the job ended


@dataclass(frozen=True)
class Bounds:
    """Limits on deliveries under way. The deployment's endpoint does not count towards `own`."""

    own: int
    """To all jobs' own endpoints."""
    receiver: int
    """To one receiver."""
    submitter: int
    """To the own endpoints of one submitter's jobs."""


def take_deliveries(
    most: Bounds, *, lease_seconds: float, under_way: Collection[Delivery]
) -> Command[list[Delivery]]:
    """Lease due deliveries within the limits. One that is not settled before its lease expires is due again.

    `under_way` are those that the caller already has.
    """
    own = [delivery for delivery in under_way if delivery.endpoint is Endpoint.OWN]
    return command_of(
        RecordKind.JOB,
        "take_deliveries",
        lambda reply: [_read(*row) for row in reply],
        most=asdict(most),
        lease_ms=round(lease_seconds * 1000),
        own=len(own),
        to_receiver=Counter(delivery.receiver for delivery in under_way),
        of_submitter=Counter(delivery.submitter for delivery in own),
    )


def settle_delivery(
    delivery: Delivery, told: Notification | None, *, retry_seconds: float | None = None
) -> Command[bool]:
    """Settle a delivery: done, or to be retried. False, and no change, if the lease has expired."""
    return command_of(
        RecordKind.JOB,
        "settle_delivery",
        bool,
        id=delivery.job_id,
        endpoint=delivery.endpoint,
        lease=delivery.lease,
        told=told.model_dump_json() if told and delivery.endpoint is Endpoint.OWN else None,
        retry_ms=None if retry_seconds is None else round(retry_seconds * 1000),
    )


def _read(job_id: str, endpoint: str, receiver: str, submitter: str, lease: str, age_ms: str) -> Delivery:
    return Delivery(job_id, Endpoint(endpoint), receiver, submitter, lease, int(age_ms) / 1000)
