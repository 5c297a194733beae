"""A record's states, its allowed transitions, and its form when read from Redis."""

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Self

from pydantic import Field

from contract.durable import Lack
from contract.evaluation import DEAD, Evaluation, MetricsBasis
from contract.kept import Kept
from contract.submission import ANYONE, Priority
from contract.webhook import Notification


class State(StrEnum):
    """The state of a record. `cancelled`, `failed` and `succeeded` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
    State.RUNNING: frozenset(
        {State.QUEUED, State.PAUSED, State.SUCCEEDED, State.FAILED, State.CANCELLED},
    ),
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    State.SUCCEEDED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
}


class Want(StrEnum):
    """What the gateway wants; the owner learns it with its next heartbeat."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class Intent(Kept):
    """What a gateway wanted of a record last, as the volume keeps it for rebuilds."""

    want: Want
    revision: int = Field(0, description="The record's when it was wanted: later events are newer.")


class Failure(Kept):
    """Why a record failed: a stable code and a sentence."""

    code: str
    detail: str


class Progress(Kept):
    """How far the work is, in images: trained on for a job, decoded for a dataset."""

    done: int = Field(ge=0)
    total: int = Field(ge=0)
    images_per_second: float | None = None
    seconds_left: float | None = Field(None, description="As of this report.")
    losses: dict[str, float] = Field(default_factory=dict)


class CheckpointFact(Kept):
    """A generator on the volume that can be served."""

    file: str
    digest: str
    images_seen: int
    bytes: int
    metrics: dict[str, float] = Field(default_factory=dict)
    basis: MetricsBasis | None = None

    @property
    def distance(self) -> float:
        """The Fréchet distance, by which checkpoints of one job are compared; infinite if not evaluated."""
        return self.metrics.get("fd", self.metrics.get("fid", math.inf))

    @property
    def is_dead(self) -> bool:
        """Whether an evaluation found nearly the same picture for every seed."""
        return self.metrics.get("diversity", math.inf) < DEAD


def best_checkpoint(checkpoints: Sequence[CheckpointFact]) -> CheckpointFact:
    """The checkpoint that a job's id stands for: of those not dead, the closest to the real pictures.

    A dead one is better than one that was not evaluated. If none was evaluated, it is the latest.
    """
    judged = [checkpoint for checkpoint in checkpoints if math.isfinite(checkpoint.distance)]
    return min(judged, key=lambda one: (one.is_dead, one.distance)) if judged else checkpoints[-1]


class SnapshotFact(Kept):
    """A training state on the volume from which the job resumes bit for bit."""

    file: str
    images_seen: int
    best_images_seen: int | None = Field(
        None, description="When the best so far was saved, to which a run that goes wrong is rolled back."
    )
    judged_every: int | None = Field(
        None, description="Images between two evaluations since the run began. Null in old records."
    )


class Shortage(Kept):
    """What a record's work waits for, because the volume refuses its writes or reads."""

    code: Lack
    detail: str = Field(description="What is needed, and what to do.")
    needed_bytes: int = Field(description="How many bytes must be free for it to continue.")
    free_bytes: int | None = Field(None, description="How many are free; null where that is not known.")
    since_ms: int


class Record(Kept):
    """One record as it stands in Redis, without the fields that no process reads."""

    id: str
    state: State
    want: Want
    token: int
    attempt: int
    revision: int
    spec: str
    created_us: int
    started_ms: int | None = None
    finished_ms: int | None = None
    owner: str | None = None
    lease_until_ms: int | None = None
    submitter: str = ANYONE
    priority: Priority = Priority.NORMAL
    retry_of: str | None = None
    webhook: str | None = Field(None, description="The origin of its own webhook; the rest is on the volume.")
    told: Notification | None = None
    progress: Progress | None = None
    snapshot: SnapshotFact | None = None
    checkpoint: CheckpointFact | None = None
    evaluation: Evaluation | None = None
    environment: dict[str, Any] | None = None
    error: Failure | None = None
    waiting_for: Shortage | None = None
    devices: int = 1
    deaths: int = Field(0, description="Of children that worked on it, since the last snapshot.")
    judged_images_seen: int = Field(0, description="Up to where what came of judging the run was reported.")
    previewed_images_seen: int = Field(0, description="Up to where its previews were reported.")

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> Self:
        """Read the flat strings of the Redis hash."""
        return cls.model_validate(
            {name: json.loads(value) if name in _JSON_FIELDS else value for name, value in fields.items()}
        )


_JSON_FIELDS = {
    "progress",
    "snapshot",
    "checkpoint",
    "evaluation",
    "environment",
    "error",
    "waiting_for",
    "told",
}
