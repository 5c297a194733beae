"""A resolved request for samples: generator, seeds and form. It alone determines the bytes."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from contract.formats import FORMS, SampleFormat
from contract.identifiers import Digest, Owner
from contract.latents import pack, unpack
from contract.plugin import Frozen
from contract.training import MAX_SEED

SamplePrecision = Literal["auto", "float32"]
MAX_COUNT = 1024
"""The largest sheet, in tiles."""
FULL_BATCH = 64
"""Samples that a sampler usually renders in one forward pass."""
BRIEF_WEIGHT = FULL_BATCH // 4
"""The most that a request may weigh to be served while a sampler is at work on a heavier one."""

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


class SampleOptions(Frozen):
    """How samples are rendered: the same names and defaults in queries, bodies and specs."""

    columns: int | None = Field(
        None,
        ge=1,
        le=MAX_COUNT,
        description="Maximum number of tiles per row of a sheet; default: as square as possible.",
    )
    padding: int = Field(0, ge=0, le=256, description="Black pixels between the tiles of a sheet.")
    scale: int = Field(1, ge=1, le=16, description="Factor by which width and height are enlarged.")
    truncation: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Central share of the prior that latents are drawn from; less means less variety.",
    )
    resample: Literal["nearest", "lanczos"] = Field(
        "nearest", description="How `scale` enlarges: nearest repeats pixels, lanczos interpolates."
    )
    precision: SamplePrecision = Field(
        "auto",
        description="Arithmetic of the generator; auto is the fastest on the samplers' device.",
    )

    def settled(self, count: int) -> dict[str, object]:
        """All options in their canonical form, for a picture of `count` tiles.

        An option without effect gets its default: padding of a single tile, resampling without enlargement,
        the columns that a sheet has anyway.
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
        """The options that differ from their default."""
        return {
            name: value for name, default in _DEFAULTS.items() if (value := getattr(self, name)) != default
        }


_DEFAULTS = {name: field.default for name, field in SampleOptions.model_fields.items()}


class SampleSpec(SampleOptions):
    """Samples of one generator: of the seeds `seed … seed + count - 1`, of listed seeds, of points on the
    path between the seeds `seed` and `to`, or of latents.

    Two specs of the same samples are equal: options are settled, consecutive seeds are not listed, and the
    end of a path by itself is a seed.
    """

    digest: Digest
    seed: int = Field(0, ge=0, le=MAX_SEED)
    count: int = Field(1, ge=1, le=MAX_COUNT)
    to: Seed | None = None
    at: float | None = Field(None, gt=0, lt=1)
    """Of a path, this point alone; otherwise `count` points, spaced equally."""
    listed: tuple[Seed, ...] | None = Field(None, max_length=MAX_COUNT, fail_fast=True)
    latents: str | None = None
    """Instead of seeds: `count` rows, as packed by `contract.latents`."""
    format: SampleFormat = "png"

    @classmethod
    def of_seeds(cls, digest: str, chosen: SampleFormat, seeds: Sequence[int], asked: SampleOptions) -> Self:
        """The spec of these seeds, in this order."""
        row = range(seeds[0], seeds[0] + len(seeds))
        is_row = seeds == row or tuple(seeds) == tuple(row)
        return cls.model_validate(
            {
                **asked.settled(len(seeds)),
                "digest": digest,
                "seed": seeds[0] if is_row else 0,
                "count": len(seeds),
                "listed": None if is_row else tuple(seeds),
                "format": chosen,
            }
        )

    @classmethod
    def of_path(
        cls,
        digest: str,
        chosen: SampleFormat,
        ends: tuple[int, int],
        asked: SampleOptions,
        *,
        count: int,
        at: float | None = None,
    ) -> Self:
        """The spec of `count` points of the path between two seeds, or of the one `at` a fraction of it."""
        if at in (0, 1):
            return cls.of_seeds(digest, chosen, [ends[1] if at else ends[0]], asked)
        path = {"seed": ends[0], "to": ends[1], "count": count, "at": at}
        return cls.model_validate({**asked.settled(count), **path, "digest": digest, "format": chosen})

    @classmethod
    def of_latents(
        cls, digest: str, chosen: SampleFormat, rows: Sequence[Sequence[float]], asked: SampleOptions
    ) -> Self:
        """The spec of these latents, in this order."""
        points = {"count": len(rows), "latents": pack(rows)}
        return cls.model_validate({**asked.settled(len(rows)), **points, "digest": digest, "format": chosen})

    @model_validator(mode="after")
    def _ends_within_the_seeds(self) -> Self:
        if self.to is None and self.seed + self.count - 1 > MAX_SEED:
            raise ValueError(f"the sheet runs past the last seed, {MAX_SEED}: lower seed or count")
        return self

    @model_validator(mode="after")
    def _is_settled(self) -> Self:
        for name, value in self.settled(self.count).items():
            if getattr(self, name) != value:
                raise ValueError(f"{name} changes nothing here; the spec of this picture has {value!r}")
        return self

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.listed is None and self.latents is None:
            return self
        if self.seed or self.to is not None or (self.listed is not None and self.latents is not None):
            raise ValueError("seed, listed seeds and latents exclude each other")
        if self.listed is not None and len(self.listed) != self.count:
            raise ValueError(f"count is {self.count}, but {len(self.listed)} seeds are listed")
        if self.latents is not None:
            if self.truncation != 1:
                raise ValueError("latents are taken as they are: truncation is for seeds")
            unpack(self.latents, self.count)
        return self

    @model_validator(mode="after")
    def _is_a_path_or_none(self) -> Self:
        if self.to is None and self.at is not None:
            raise ValueError("at is a point on a path: it needs to")
        if self.to is not None and (self.count == 1) is (self.at is None):
            raise ValueError("a path has either a count of at least 2 or at")
        if self.to == self.seed:
            raise ValueError("a path has two different ends")
        return self

    @property
    def seeds(self) -> Sequence[int]:
        """The seed of each tile, in order; empty for latents and paths."""
        if self.latents is not None or self.to is not None:
            return ()
        return self.listed or range(self.seed, self.seed + self.count)

    @property
    def ways(self) -> Sequence[float]:
        """Of a path, how far along it each tile is: from 0, at `seed`, to 1, at `to`."""
        assert self.to is not None
        return [point / (self.count - 1) for point in range(self.count)] if self.at is None else [self.at]

    @property
    def weight(self) -> int:
        """The cost to a sampler, in samples at their own size; enlarged ones take longer to encode."""
        if self.scale == 1:
            return self.count
        return self.count + round(self.count * (self.scale**2 - 1) * FORMS[self.format].enlarging)

    @property
    def is_light(self) -> bool:
        """Whether it is less than a batch: samplers let it pass those that are not."""
        return self.weight < FULL_BATCH

    @property
    def is_brief(self) -> bool:
        """Whether it may pass those that are not, even once a sampler has begun them."""
        return self.weight <= BRIEF_WEIGHT

    def canonical(self) -> str:
        """The unique text of this picture, from which the ETag and the cache keys are made."""
        options = "".join(f",{name}={value}" for name, value in self.chosen().items())
        return f"{self.digest}/{self._points()}+{self.count}{options}.{self.format}"

    def _points(self) -> str:
        if self.latents is not None:
            return f"latents-{sha256(self.latents.encode()).hexdigest()}"
        if self.listed is not None:
            return f"seeds-{sha256(repr(self.listed).encode()).hexdigest()}"
        path = "" if self.to is None else f"-to-{self.to}"
        return f"{self.seed}{path}" if self.at is None else f"{self.seed}{path}-at-{self.at}"

    def address(self) -> str | None:
        """The permanent address of exactly this, relative to the service, or None.

        Listed seeds and latents have none: they are requested by `body`.
        """
        if self.listed is not None or self.latents is not None:
            return None
        count = self.count if self.count > 1 else None
        points = {"seed": self.seed, "to": self.to, "at": self.at, "count": count}
        given = {name: value for name, value in points.items() if value is not None}
        parameters = {"model": self.digest, **given, **self.chosen(), "format": self.format}
        return "/samples?" + "&".join(f"{name}={value}" for name, value in parameters.items())

    def body(self) -> dict[str, object]:
        """The body of the `POST /samples` that returns this."""
        latents = None if self.latents is None else unpack(self.latents, self.count)
        points = {"seeds": list(self.seeds)} if latents is None else {"latents": latents}
        return {"model": self.digest, **points, **self.chosen(), "format": self.format}

    def tiles(self) -> "list[SampleSpec]":
        """The spec of each sample by itself, as a PNG."""
        alone: dict[str, object] = {"count": 1, "columns": None, "padding": 0, "format": "png"}
        each: list[dict[str, object]]
        if self.to is not None:
            ends: dict[float, dict[str, object]] = {0: {"to": None}, 1: {"seed": self.to, "to": None}}
            each = [ends.get(way, {"at": way}) for way in self.ways]
        elif self.latents is None:
            each = [{"seed": seed, "listed": None} for seed in self.seeds]
        else:
            each = [{"latents": pack([row])} for row in unpack(self.latents, self.count)]
        return [self.model_copy(update={**alone, **one}) for one in each]

    def size(self, resolution: int) -> tuple[int, int]:
        """Width and height of one of its pictures, for a generator of this resolution."""
        side = resolution * self.scale
        if FORMS[self.format].holds != "a sheet":
            return side, side
        columns = self.columns or sheet_columns(self.count)
        rows = -(-self.count // columns)
        return columns * (side + self.padding) - self.padding, rows * (side + self.padding) - self.padding


class CheckpointPlace(Frozen):
    """Where a generator is on the volume: among a job's checkpoints, or among the imported ones."""

    job: Owner
    file: str


def sheet_columns(count: int) -> int:
    """The width of a sheet in tiles: as square as possible, never taller than wide."""
    columns = 1
    while columns * columns < count:
        columns += 1
    return columns
