"""The service's answers, as far as this client reads them. Unknown fields are kept, not rejected."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from contract.job import State


class Reply(BaseModel):
    """An answer, or a part of one."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Reason(Reply):
    """Why something failed: a stable code and a sentence."""

    code: str
    detail: str


class JobProgress(Reply):
    """A job's progress, counted in real images shown."""

    images_seen: int
    total: int
    images_per_second: float | None = None
    seconds_left: float | None = None
    losses: Mapping[str, float] = Field(default_factory=dict)


class Checkpoint(Reply):
    """A job's best generator so far; its digest can be given as the model of samples."""

    digest: str
    images_seen: int
    metrics: Mapping[str, float] = Field(default_factory=dict)
    """The figures of its evaluation by name, such as `fd`; empty if it was not evaluated."""


class Distance(Reply):
    """The distance between samples and real pictures, by its name, such as `fd`."""

    name: str
    value: float
    floor: float | None = None
    """That of real pictures in the place of samples."""


class Evaluation(Reply):
    """The latest evaluation of the generator."""

    images_seen: int
    samples: int | None = None
    reals: int | None = None
    frechet: Distance


class Job(Reply):
    """A training job at the time of the request."""

    id: str
    state: str
    name: str | None = None
    dataset: str | None = None
    spec: Mapping[str, object] = Field(default_factory=dict)
    """What is trained: every field of `POST /jobs`, with its default where none was given."""
    progress: JobProgress
    estimated_finish: datetime | None = None
    queue_position: int | None = None
    stalled_reason: str | None = None
    """Why it does not go on, such as a number of devices that no living trainer owns."""
    waiting_for: Reason | None = None
    revision: int = 0
    checkpoint: Checkpoint | None = None
    evaluation: Evaluation | None = None
    error: Reason | None = None

    @property
    def is_final(self) -> bool:
        """Whether the job has ended for good."""
        return self.state in FINAL


class MemoryEstimate(Reply):
    """A job's peak memory, and what the trainer has available."""

    needed_bytes: int
    available_bytes: int | None = None
    fits: bool | None = None
    batch_size: int | None = None


class TimeEstimate(Reply):
    """How long a job would take once started, and how that was estimated."""

    seconds: float | None = None
    basis: str
    detail: str


class EvaluationPlan(Reply):
    """How often the generator would be evaluated."""

    count: int
    every_images: int | None = None


class AskedTrainer(Reply):
    """The trainer that made the estimate."""

    name: str
    device: str
    device_model: str


class Estimate(Reply):
    """What a job would take on the trainer that made the estimate."""

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


class RejectedFile(Reply):
    """A file of an archive that is not a usable picture."""

    name: str
    reason: str


class Dataset(Reply):
    """An uploaded dataset at the time of the request. What it contains is None until it is ready."""

    id: str
    state: str
    name: str | None = None
    images: int | None = None
    held_out_images: int | None = None
    """How many of the pictures are kept for evaluation."""
    rejected_images: int | None = None
    rejected: Sequence[RejectedFile] | None = None
    """The first 1,000 rejected files; None in lists."""
    duplicate_images: int | None = None
    channels: int | None = None
    """1 if every picture is grey, else 3."""
    error: Reason | None = None


class Model(Reply):
    """A generator, and the alias by which it was requested, if any. Without a job it was imported."""

    alias: str | None = None
    digest: str
    job: str | None = None
    follow: bool = False
    revision: int | None = None
    etag: str | None = None


class PastMeaning(Model):
    """What an alias was pointed to, when, and by which kind of request."""

    by: str
    at: datetime


FINAL = frozenset(state.value for state in State if state.is_terminal)
