"""Specs as the API makes them of requests, for tests that choose every setting themselves."""

from collections.abc import Mapping
from typing import Literal

from contract.training import JobRequest, TrainingParameters, TrainingSpec, resolve


class FourHundred:
    """A dataset of 400 pictures, so few that presets augment at full strength."""

    images = 400
    held_out_images = 0
    channels: Literal[1, 3] = 3
    median_width = median_height = 32


def resolved(settings: Mapping[str, object]) -> TrainingSpec:
    """The spec of a job with these settings; those left out have the fields' defaults, not a preset's."""
    request = JobRequest.model_validate(TrainingParameters().model_dump() | dict(settings))
    return resolve(request, FourHundred())
