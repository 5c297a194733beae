"""The service's answers, as far as this client reads them; what it does not know is kept, not refused."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from contract.job import State


class Reply(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Reason(Reply):
    """Why something failed: a stable code and a sentence."""

    code: str
    detail: str


class JobProgress(Reply):
    """How far a job is, in real images shown."""

    images_seen: int
    total: int
    images_per_second: float | None = None
    seconds_left: float | None = None
    losses: Mapping[str, float] = Field(default_factory=dict)


class Checkpoint(Reply):
    """A generator that can be asked for samples by its digest: the best so far of its job."""

    digest: str
    images_seen: int


class Distance(Reply):
    """How far the samples are from real pictures: `fd`, say."""

    name: str
    value: float


class Evaluation(Reply):
    """How good the generator was when it was judged last."""

    images_seen: int
    frechet: Distance


class Job(Reply):
    """A training job as it stood when it was asked for."""

    id: str
    state: str
    name: str | None = None
    dataset: str | None = None
    progress: JobProgress
    estimated_finish: datetime | None = None
    queue_position: int | None = None
    waiting_for: Reason | None = None
    revision: int = 0
    checkpoint: Checkpoint | None = None
    evaluation: Evaluation | None = None
    error: Reason | None = None

    @property
    def is_final(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in FINAL


class MemoryEstimate(Reply):
    """The memory that a job would take at its peak, and what the trainer has for it."""

    needed_bytes: int
    available_bytes: int | None = None
    fits: bool | None = None
    batch_size: int | None = None


class TimeEstimate(Reply):
    """How long a job would take once it is begun, and how that was found."""

    seconds: float | None = None
    basis: str
    detail: str


class EvaluationPlan(Reply):
    """How often the generator would be judged."""

    count: int
    every_images: int | None = None


class AskedTrainer(Reply):
    """Who told."""

    name: str
    device: str
    device_model: str


class Estimate(Reply):
    """What a job would take on the trainer that told."""

    memory: MemoryEstimate
    time: TimeEstimate
    evaluations: EvaluationPlan
    trainer: AskedTrainer
    error: Reason | None = None


class DryRun(Reply):
    """What would be trained, and what that would take."""

    spec: Mapping[str, object]
    estimate: Estimate
    stalled_reason: str | None = None


class Dataset(Reply):
    """An uploaded dataset as it stood when it was asked for."""

    id: str
    state: str
    name: str | None = None
    images: int | None = None
    error: Reason | None = None


class Model(Reply):
    """A generator, and the alias that it was asked for by. Without a job it was imported."""

    alias: str | None = None
    digest: str
    job: str | None = None
    follow: bool = False
    revision: int | None = None
    etag: str | None = None


class PastMeaning(Model):
    """What an alias was pointed at, when, and by which request."""

    by: str
    at: datetime


FINAL = frozenset(state.value for state in State if state.is_terminal)
