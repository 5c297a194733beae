"""A request for samples, resolved: which generator, seeds and form. Its bytes follow from it alone."""

from typing import Literal, Self

from pydantic import Field, model_validator

from contract.identifiers import Digest, Owner
from contract.plugin import Frozen
from contract.training import MAX_SEED

SampleFormat = Literal["png"]
MAX_COUNT = 1024
"""The largest sheet, in tiles."""


class SampleSpec(Frozen):
    """The seeds `seed … seed + count - 1` of one generator; more than one is a sheet."""

    digest: Digest
    seed: int = Field(ge=0, le=MAX_SEED)
    count: int = Field(1, ge=1, le=MAX_COUNT)
    format: SampleFormat = "png"

    @model_validator(mode="after")
    def _ends_within_the_seeds(self) -> Self:
        if self.seed + self.count - 1 > MAX_SEED:
            raise ValueError(f"the sheet runs past the last seed, {MAX_SEED}: lower seed or count")
        return self

    def canonical(self) -> str:
        """One text for one picture: what the ETag and the caches are made from."""
        return f"{self.digest}/{self.seed}+{self.count}.{self.format}"


class CheckpointPlace(Frozen):
    """Where the generator lies on the volume: among a job's checkpoints, or among the imported ones."""

    job: Owner
    file: str


def sheet_columns(count: int) -> int:
    """How many tiles wide a sheet is: as square as it can be, never taller than wide."""
    columns = 1
    while columns * columns < count:
        columns += 1
    return columns
