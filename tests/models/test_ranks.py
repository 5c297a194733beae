"""Ranks in separate processes stay equal bit for bit, and learn what a single rank would learn."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.training import TrainingSpec
from models.ranks import Alone
from tests.conftest import proof
from tests.models.rank_child import carry_out
from tests.models.test_resume import SIZE, SPEC

# No batch norm, and every kind of draw: latents, augmentation, and the mix of the penalty.
SEPARABLE: dict[str, Any] = SPEC | {
    "architecture": SIZE | {"kind": "dcgan_fc", "discriminator_norm": "none"},
    "objective": "wgan_gp",
    "augmentation": {},
    "batch_size": 12,
    "images": 120,
    "generator_learning_rate": 1e-4,
    "precision": "float32",
}
ENTANGLED: dict[str, Any] = SPEC | {"batch_size": 12, "images": 48}


Ended = dict[str, Any]


def carried_out(specs: list[dict[str, Any]], ranks: int, meeting_point: Path) -> list[list[Ended]]:
    """The results of each rank, in order of rank, for each spec."""
    lines = "".join(json.dumps(spec | {"devices": ranks}) + "\n" for spec in specs)

    def run(rank: int) -> list[Ended]:
        command = [sys.executable, "-m", "tests.models.rank_child", str(rank), str(ranks), str(meeting_point)]
        shown = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True)
        return [json.loads(line) for line in shown.stdout.splitlines()]

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(run, range(ranks)))


@pytest.fixture(scope="module")
def alone() -> Ended:
    return carry_out(TrainingSpec.model_validate(SEPARABLE | {"devices": 1}), Alone())


@pytest.mark.parametrize("ranks", range(3, 1 + proof(3, 4)))
def test_ranks_stay_equal_and_learn_what_a_single_rank_learns(
    alone: Ended, ranks: int, tmp_path: Path
) -> None:
    """Up to rounding, because the order of summation over the batch differs."""
    first, *others = carried_out([SEPARABLE, ENTANGLED], ranks, tmp_path / "meeting-point")
    assert all(other == first for other in others)
    for name, weights in alone["weights"].items():
        np.testing.assert_allclose(first[0]["weights"][name], weights, atol=2e-5, err_msg=name)
    for ours, its in zip(first[0]["losses"], alone["losses"], strict=True):
        np.testing.assert_allclose(list(ours.values()), list(its.values()), rtol=2e-3)
