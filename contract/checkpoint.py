"""What a served checkpoint says of itself, in its safetensors header."""

from typing import Literal

from pydantic import Field

from contract.identifiers import JobId
from contract.plugin import Frozen
from contract.training import TrainingSpec

HEADER_KEY = "dcgan"
"""The key of the safetensors metadata under which the header's JSON stands."""


class CheckpointHeader(Frozen):
    """Where a generator comes from. Together with the tensors it is all that sampling needs."""

    format_version: Literal[1] = 1
    job: JobId
    spec: TrainingSpec
    images_seen: int = Field(ge=0)
    metrics: dict[str, float] = Field(default_factory=dict)
