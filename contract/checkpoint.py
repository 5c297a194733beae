"""The header that describes a served checkpoint, in its safetensors metadata."""

from typing import Literal

from pydantic import Field

from contract.evaluation import MetricsBasis
from contract.identifiers import JobId
from contract.kept import Kept
from contract.training import TrainingSpec

HEADER_KEY = "dcgan"
"""The key of the safetensors metadata that holds the header's JSON."""


class CheckpointHeader(Kept):
    """Where a generator comes from. Sampling needs only this and the tensors."""

    format_version: Literal[1] = 1
    job: JobId
    spec: TrainingSpec
    images_seen: int = Field(ge=0)
    metrics: dict[str, float] = Field(default_factory=dict)
    basis: MetricsBasis | None = Field(
        None, description="What the metrics were computed from. Null if there are none, or in older files."
    )
