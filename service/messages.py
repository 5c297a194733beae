"""The webhook message about an ended job, and its signature (https://www.standardwebhooks.com, 1.0.0)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Header
from pydantic import Field

from contract.job import Failure, State
from contract.plugin import Frozen
from contract.training import TrainingSpec
from contract.webhook import Endpoint, Webhook
from service.links import some_samples
from service.store import Standing
from service.views import from_ms


class EndedJob(Frozen):
    """A job that has ended. Follow `links`, which are relative to the service, for the details."""

    id: str = Field(examples=["job_7f2d9k0w3q5m8x1a"])
    name: str | None = Field(examples=["flowers"])
    dataset: str = Field(examples=["ds_3k9w0q2m5x7a1b4c"])
    state: Literal["succeeded", "failed", "cancelled"]
    error: Failure | None
    checkpoint: str | None = Field(
        description="The digest of its best checkpoint.", examples=["sha256:0123…cdef"]
    )
    links: dict[str, str]


class Message(Frozen):
    """The body of a delivery, identical at every attempt, but for `timestamp` if Redis was emptied."""

    type: Literal["job.succeeded", "job.failed", "job.cancelled"]
    timestamp: datetime = Field(
        description="When the job ended. If it was cancelled while queued or paused, and Redis is emptied"
        " before a later attempt, this may differ by milliseconds."
    )
    data: EndedJob

    @classmethod
    def of(cls, standing: Standing) -> Self:
        """Build the message about a job that has ended."""
        record = standing.record
        spec = TrainingSpec.model_validate_json(record.spec)
        own = f"/jobs/{record.id}"
        links = {"self": own, "checkpoints": f"{own}/checkpoints"}
        if record.checkpoint:
            links["samples"] = some_samples(record.checkpoint.digest)
        assert record.finished_ms is not None
        return cls.model_validate(
            {
                "type": f"job.{record.state}",
                "timestamp": from_ms(record.finished_ms),
                "data": {
                    "id": record.id,
                    "name": spec.name,
                    "dataset": spec.dataset,
                    "state": record.state.value,
                    "error": record.error,
                    "checkpoint": record.checkpoint.digest if record.checkpoint else None,
                    "links": links,
                },
            }
        )


router = APIRouter(tags=["webhooks"])
"""Described in the OpenAPI document, and implemented by the receiver."""


@router.post("jobEnded", operation_id="jobEnded", summary="A job has ended")
async def job_ended(
    message: Message,
    webhook_id: Annotated[str, Header(description="Equal at every attempt: drop those that you know.")],
    webhook_timestamp: Annotated[int, Header(description="Of the attempt, in Unix seconds.")],
    webhook_signature: Annotated[
        str, Header(description="`v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.")
    ],
) -> None:
    """Sent to the job's `webhook` and the deployment's; retried for a day until answered with 2xx or 410."""


def message_id(job_id: str, state: State, endpoint: Endpoint) -> str:
    """Identical at every attempt, even after Redis was emptied, so that receivers can drop duplicates."""
    return f"{job_id}-{state}-{endpoint}"


def signed_headers(webhook: Webhook, name: str, body: bytes, now_seconds: int) -> Mapping[str, str]:
    """Headers by which the receiver verifies that a message is authentic and recent."""
    content = f"{name}.{now_seconds}.".encode() + body
    signature = base64.b64encode(hmac.digest(webhook.key, content, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "dcgan-webhooks/1",
        "webhook-id": name,
        "webhook-timestamp": str(now_seconds),
        "webhook-signature": f"v1,{signature}",
    }
