"""The responses of /samples, for the OpenAPI document."""

from typing import Any

from pydantic import Field

from contract.formats import FORMS
from contract.identifiers import DIGEST_EXAMPLE
from contract.plugin import Frozen
from service.openapi import BINARY


class SampleImage(Frozen):
    """One sample."""

    seed: int | None = Field(
        description="Null for your own latents, and between the ends of a path.", examples=[7]
    )
    url: str | None = Field(
        description="Its pinned address, relative to the service; null for your own latents.",
        examples=[f"/samples?model={DIGEST_EXAMPLE}&seed=7&format=png"],
    )
    src: str = Field(description="Its PNG as a data: URL.", examples=["data:image/png;base64,iVBORw0KGgo…"])


class SamplesDocument(Frozen):
    """Samples in the format `json`."""

    digest: str = Field(description="The generator's digest.", examples=[DIGEST_EXAMPLE])
    shape: tuple[int, int, int, int] = Field(
        description="Images, height, width, channels.", examples=[[1, 32, 32, 3]]
    )
    range: tuple[int, int] = Field(description="The range of the pixels.", examples=[[0, 255]])
    images: tuple[SampleImage, ...]


ANSWER: dict[str, Any] = {
    "model": SamplesDocument,  # the content of application/json
    "content": {form.media_type: BINARY for name, form in FORMS.items() if name != "json"},
}
"""The document's entry for status 200, without its description."""
