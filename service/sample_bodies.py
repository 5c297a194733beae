"""The body of `POST /samples`: seeds in any order, or the client's own latents."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import ConfigDict, Field

from contract.errors import FieldError, ServiceError
from contract.formats import SampleFormat
from contract.latents import FURTHEST, MOST_NUMBERS
from contract.sampling import MAX_COUNT, SampleOptions, SampleSpec, Seed
from service.refusals import parameter_error

MAX_LATENT_SIZE = 1024
"""No generator takes longer latents."""

# fail_fast: a body of megabytes that is all wrong would otherwise yield hundreds of thousands of errors.
Latent = Annotated[
    tuple[Annotated[float, Field(ge=-FURTHEST, le=FURTHEST)], ...],
    Field(max_length=MAX_LATENT_SIZE, fail_fast=True, strict=False),
]
Seeds = Annotated[tuple[Seed, ...], Field(max_length=MAX_COUNT, fail_fast=True, strict=False)]
Latents = Annotated[tuple[Latent, ...], Field(max_length=MAX_COUNT, fail_fast=True, strict=False)]


class SamplesBody(SampleOptions):
    """Which samples to render, by either seeds or latents."""

    model_config = ConfigDict(strict=True)  # JSON has types; but its lists are tuples here

    model: str | None = Field(
        None, description="A digest (sha256:…), a job (job_…) or an alias; default: the alias latest."
    )
    seeds: Seeds | None = Field(None, description="In any order; a seed may be repeated.")
    latents: Latents | None = Field(
        None, description="Each with as many numbers as the generator's latent_size; rounded to float32."
    )
    format: SampleFormat | None = Field(
        None, description="How the samples are encoded; takes precedence over `Accept`."
    )

    def require_whole(self) -> None:
        """Check what concerns more than one field.

        Raises:
            ServiceError: `invalid_request`.
        """
        if (self.seeds is None) == (self.latents is None):
            given = "neither was" if self.seeds is None else "both were"
            raise parameter_error("/seeds", f"Give exactly one of seeds and latents; {given} given.")
        for name, points in (("seeds", self.seeds), ("latents", self.latents)):
            if points is not None and not points:
                raise parameter_error(f"/{name}", f"{name} is empty; give 1 to {MAX_COUNT}.")
        if self.latents is not None:
            self._require_whole_latents(self.latents)

    def _require_whole_latents(self, latents: Sequence[Sequence[float]]) -> None:
        if self.truncation != 1:
            detail = (
                "truncation applies only to latents drawn from seeds; your own latents are used unchanged. "
                "Leave it out."
            )
            raise parameter_error("/truncation", detail)
        size = len(latents[0])
        for index, latent in enumerate(latents):
            if not latent:
                detail = f"latents/{index} is empty; give it as many numbers as the generator's latent_size."
                raise parameter_error(f"/latents/{index}", detail)
            if len(latent) != size:
                detail = (
                    f"latents/{index} has {len(latent)} numbers, but latents/0 has {size}; "
                    "give each the same number."
                )
                raise parameter_error(f"/latents/{index}", detail)
        if size * len(latents) > MOST_NUMBERS:
            detail = (
                f"latents has {size * len(latents):,} numbers in all; the limit is {MOST_NUMBERS:,}. "
                "Send them in parts."
            )
            raise parameter_error("/latents", detail)

    def spec(self, digest: str, chosen: SampleFormat) -> SampleSpec:
        """The samples that it requests of a generator; call `require_whole` first."""
        if self.latents is not None:
            return SampleSpec.of_latents(digest, chosen, self.latents, self)
        assert self.seeds is not None
        return SampleSpec.of_seeds(digest, chosen, self.seeds, self)

    def pointed(self, refusal: ServiceError) -> ServiceError:
        """A refusal of this body's spec, with pointers into the body."""
        samples = "seeds" if self.latents is None else "latents"
        fields = (
            FieldError(f"/{samples if field.pointer == 'count' else field.pointer}", field.detail)
            for field in refusal.fields
        )
        return refusal.pointing_at(tuple(fields))
