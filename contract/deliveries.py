"""The commands of `store.lua` that tell how jobs ended. A delivery is one end, for one endpoint."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from contract.keys import KEYS, RecordKind
from contract.store import Command
from contract.webhook import Endpoint, Told

T = TypeVar("T")


@dataclass(frozen=True)
class Delivery:
    """One that is due, leased until it is settled."""

    job_id: str
    endpoint: Endpoint
    receiver: str  # the origin of a job's own webhook, or "global"
    lease: str
    age_seconds: float  # since the job ended


def take_deliveries(
    most: int, *, lease_seconds: float, under_way: Mapping[str, int], each: int
) -> Command[list[Delivery]]:
    """Lease what is due, at most `each` of one receiver. What is not settled before it lapses comes again.

    `under_way` are those that the caller has of each receiver already.
    """
    return _command(
        "take_deliveries",
        lambda reply: [_read(*row) for row in reply],
        most=most,
        lease_ms=round(lease_seconds * 1000),
        under_way=dict(under_way),
        each=each,
    )


def settle_delivery(
    delivery: Delivery, told: Told | None, *, retry_seconds: float | None = None
) -> Command[bool]:
    """Say what became of it: over, or to be tried again. False, and no change, when the lease had run out."""
    given = {
        "id": delivery.job_id,
        "endpoint": delivery.endpoint,
        "lease": delivery.lease,
        "told": told.model_dump_json() if told and delivery.endpoint is Endpoint.OWN else None,
        "retry_ms": None if retry_seconds is None else round(retry_seconds * 1000),
    }
    present = {name: value for name, value in given.items() if value is not None}  # cjson's null is truthy
    return _command("settle_delivery", bool, **present)


def _command(command: str, parse: Callable[[Any], T], **arguments: object) -> Command[T]:
    return Command((json.dumps(KEYS[RecordKind.JOB].names()), command, json.dumps(arguments)), parse)


def _read(job_id: str, endpoint: str, receiver: str, lease: str, age_ms: str) -> Delivery:
    return Delivery(job_id, Endpoint(endpoint), receiver, lease, int(age_ms) / 1000)
