"""A request for samples, resolved: which generator, seeds and form. Its bytes follow from it alone."""

from typing import Literal, Self
from urllib.parse import urlencode

from pydantic import Field, model_validator

from contract.formats import FORMS, SampleFormat
from contract.identifiers import Digest, JobId
from contract.plugin import Frozen
from contract.training import MAX_SEED

MAX_COUNT = 1024
"""The largest sheet, in tiles."""


class SampleOptions(Frozen):
    """How samples are shown: the same names and defaults in queries, bodies and specs."""

    columns: int | None = Field(
        None,
        ge=1,
        le=MAX_COUNT,
        description="Tiles in a row of a sheet, at most; default: as square as it can be.",
    )
    padding: int = Field(0, ge=0, le=256, description="Black pixels between the tiles of a sheet.")
    scale: int = Field(1, ge=1, le=16, description="How many pixels wide and high each pixel becomes.")
    resample: Literal["nearest", "lanczos"] = Field(
        "nearest", description="How `scale` fills them: nearest repeats the pixel, lanczos is smooth."
    )

    def settled(self, count: int) -> dict[str, object]:
        """All options, each as it is in the one spec of the picture of `count` tiles that they ask for.

        What changes nothing there is at its default: padding where there is one tile, a way to resample
        where nothing is enlarged, the columns that a sheet has anyway.
        """
        options = {name: getattr(self, name) for name in _DEFAULTS}
        if self.columns is not None:
            columns = min(self.columns, count)
            options["columns"] = None if columns == sheet_columns(count) else columns
        if count == 1:
            options["padding"] = 0
        if self.scale == 1:
            options["resample"] = "nearest"
        return options

    def chosen(self) -> dict[str, object]:
        """The options that are not at their default."""
        return {
            name: value for name, default in _DEFAULTS.items() if (value := getattr(self, name)) != default
        }


_DEFAULTS = {name: field.default for name, field in SampleOptions.model_fields.items()}


class SampleSpec(SampleOptions):
    """The seeds `seed … seed + count - 1` of one generator; more than one is a sheet.

    Its options are settled: two specs of one picture are equal.
    """

    digest: Digest
    seed: int = Field(ge=0, le=MAX_SEED)
    count: int = Field(1, ge=1, le=MAX_COUNT)
    format: SampleFormat = "png"

    @model_validator(mode="after")
    def _ends_within_the_seeds(self) -> Self:
        if self.seed + self.count - 1 > MAX_SEED:
            raise ValueError(f"the sheet runs past the last seed, {MAX_SEED}: lower seed or count")
        return self

    @model_validator(mode="after")
    def _is_settled(self) -> Self:
        for name, value in self.settled(self.count).items():
            if getattr(self, name) != value:
                raise ValueError(f"{name} changes nothing here; the spec of this picture has {value!r}")
        return self

    @property
    def seeds(self) -> range:
        """The seed of each tile, in order."""
        return range(self.seed, self.seed + self.count)

    def canonical(self) -> str:
        """One text for one picture: what the ETag and the caches are made from."""
        options = "".join(f",{name}={value}" for name, value in self.chosen().items())
        return f"{self.digest}/{self.seed}+{self.count}{options}.{self.format}"

    def address(self) -> str:
        """Where this, and never anything else, is to be had; relative to the service."""
        count = {"count": self.count} if self.count > 1 else {}
        parameters = {"model": self.digest, "seed": self.seed, **count, **self.chosen()}
        return f"/samples?{urlencode({**parameters, 'format': self.format}, safe=':')}"

    def tile(self, index: int) -> "SampleSpec":
        """The PNG of one seed of these."""
        alone = {"seed": self.seeds[index], "count": 1, "columns": None, "padding": 0, "format": "png"}
        return self.model_copy(update=alone)

    def size(self, resolution: int) -> tuple[int, int]:
        """Width and height of one of its pictures, from a generator of this resolution."""
        side = resolution * self.scale
        if FORMS[self.format].holds != "a sheet":
            return side, side
        columns = self.columns or sheet_columns(self.count)
        rows = -(-self.count // columns)
        return columns * (side + self.padding) - self.padding, rows * (side + self.padding) - self.padding


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
