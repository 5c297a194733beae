"""The description in an exported program, without exporting one."""

import json

import pytest

from contract.checkpoint import CheckpointHeader
from contract.evaluation import MetricsBasis
from contract.training import TrainingSpec
from models.exports.description import describe

BASIS = MetricsBasis(samples=4, reals=2, split="training", features="means/1", floor={}, floor_samples=None)


@pytest.mark.parametrize("basis", [None, BASIS])
def test_program_of_an_older_file_says_no_more_than_before(
    spec: TrainingSpec, basis: MetricsBasis | None
) -> None:
    header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=2, basis=basis)
    told = json.loads(describe(header, "sha256:0", 8))["checkpoint"]
    assert ("basis" in told) == (basis is not None)
    assert CheckpointHeader.model_validate(told) == header
