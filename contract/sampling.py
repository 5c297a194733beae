"""A request for samples, resolved: which generator, seeds and form. Its bytes follow from it alone."""

from typing import Literal, Self

from pydantic import Field, model_validator

from contract.identifiers import Digest, JobId
from contract.plugin import Frozen
from contract.training import MAX_SEED

SampleFormat = Literal["png"]
SamplePrecision = Literal["auto", "float32"]
MAX_COUNT = 1024
"""The largest sheet, in tiles."""


class SampleSpec(Frozen):
    """The seeds `seed … seed + count - 1` of one generator; more than one is a sheet."""

    digest: Digest
    seed: int = Field(ge=0, le=MAX_SEED)
    count: int = Field(1, ge=1, le=MAX_COUNT)
    format: SampleFormat = "png"
    precision: SamplePrecision = Field(
        "auto",
        description="Arithmetic of the generator; auto takes what the samplers' device is fastest in.",
    )

    @model_validator(mode="after")
    def _ends_within_the_seeds(self) -> Self:
        if self.seed + self.count - 1 > MAX_SEED:
            raise ValueError(f"the sheet runs past the last seed, {MAX_SEED}: lower seed or count")
        return self

    @property
    def seeds(self) -> range:
        """The seed of each tile, in order."""
        return range(self.seed, self.seed + self.count)

    def canonical(self) -> str:
        """One text for one picture: what the ETag and the caches are made from."""
        precision = "" if self.precision == "auto" else f",precision={self.precision}"
        return f"{self.digest}/{self.seed}+{self.count}{precision}.{self.format}"


class CheckpointPlace(Frozen):
    """Where the generator lies on the volume."""

    job: JobId
    file: str


def sheet_columns(count: int) -> int:
    """How many tiles wide a sheet is: as square as it can be, never taller than wide."""
    columns = 1
    while columns * columns < count:
        columns += 1
    return columns
