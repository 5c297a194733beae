"""A resumed run equals the uninterrupted one, bit for bit, from any step and in another process.

One process runs all cases. A second one resumes them in reverse order, so that what precedes a case in its
process differs too.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from contract.architectures import Dcgan, Norm
from contract.presets import PresetName
from contract.training import JobRequest, TrainingSpec, resolve
from models.objectives import OBJECTIVES
from models.terms import TERMS
from tests.conftest import proof
from tests.specs import FourHundred, resolved

CHILD = "tests.models.resume_child"
SIZE = {"kind": "dcgan", "latent_size": 8, "generator_width": 8, "discriminator_width": 8}
WIDE = SIZE | {"generator_width": 128, "discriminator_width": 128}
SPEC: dict[str, Any] = {
    "dataset": "ds_" + "0" * 16,
    "preset": "fast",
    "name": None,
    "architecture": SIZE,
    "resolution": 32,
    "channels": 3,
    "images": 24,
    "batch_size": 4,
    "mirror": True,
    "ema_halflife_images": 10,
    "generator_learning_rate": 0.01,
    "checkpoint_every_images": 8,
    "preview_every_images": 8,
}


CHANGES: dict[str, dict[str, object]] = {
    "bfloat16": {"precision": "bfloat16"},
    "float32": {"precision": "float32"},
    **{kind: {"objective": kind} for kind in ("minimax", "least_squares", "hinge", "wgan_gp", "r3")},
    "spectral": {"objective": "hinge", "architecture": SIZE | {"discriminator_norm": "spectral"}},
    "spectral bfloat16": {
        "precision": "bfloat16",
        "architecture": SIZE | {"discriminator_norm": "spectral"},
    },
    "dcgan_fc": {"architecture": SIZE | {"kind": "dcgan_fc"}},
    "resnet": {"objective": "hinge", "architecture": SIZE | {"kind": "resnet"}},
    "resnet wgan_gp": {"objective": "wgan_gp", "architecture": SIZE | {"kind": "resnet"}},
    "wide": {"batch_size": 16, "images": 48, "precision": "bfloat16", "architecture": WIDE},
    "wide spectral": {
        "batch_size": 8,
        "objective": "hinge",
        "precision": "bfloat16",
        "architecture": WIDE | {"discriminator_norm": "spectral"},
    },
    "wide resnet wgan_gp": {
        "batch_size": 8,
        "objective": {"kind": "wgan_gp", "critic_steps": 2},
        "architecture": WIDE | {"kind": "resnet"},
    },
    "augmented": {"augmentation": {}},
    "decayed": {"learning_rate_decay": 0.5},
    "terms": {"objective": "hinge", "terms": ["mmd", "weight_penalty"]},
    "penalties": {"objective": "hinge", "terms": ["mmd", "weight_penalty", "r1", "r2"]},
}
"""Changes to the settings, by name. The norm follows from the losses, as in a job."""


def small(preset: PresetName) -> TrainingSpec:
    """A preset's settings for 400 pictures, with the network, run and batch sizes of these tests."""
    request = JobRequest(dataset=SPEC["dataset"], preset=preset, resolution=32, channels=3)
    chosen = resolve(request, FourHundred()).model_dump()
    chosen["architecture"] |= {name: SIZE[name] for name in SIZE if name != "kind"}
    return TrainingSpec.model_validate(chosen | {name: SPEC[name] for name in ("images", "batch_size")})


PRESETS: tuple[PresetName, ...] = ("fast", "article", "quality", "small-data", "wgan-gp")
CASES: dict[str, TrainingSpec] = {
    **{case: resolved(SPEC | changes) for case, changes in CHANGES.items()},
    **{f"preset {preset}": small(preset) for preset in PRESETS},
}

SAVED_AT = (16, 4, 8, 12, 20)[: proof(1, 5)]
"""After 16 images the critic of `wgan_gp` is between two steps of its generator. Each of the others would
cost five seconds more."""
POINTS = [
    (case, saved_at) for case in CASES for saved_at in SAVED_AT if saved_at % CASES[case].batch_size == 0
]
"""What is resumed: each case, from each of these counts that is one of whole batches."""
THREADS = proof(1, 2)
"""Where other tests run beside these, a second one only waits for the first."""

Ended = dict[str, object]


def carry_out(requests: list[dict[str, object]]) -> list[Ended]:
    """Carry out the requests in a fresh trainer process."""
    settings = {"save_at": SAVED_AT, "threads": THREADS}
    lines = "".join(json.dumps(request | settings) + "\n" for request in requests)
    shown = subprocess.run(
        [sys.executable, "-m", CHILD], input=lines, stdout=subprocess.PIPE, text=True, check=True
    )
    return [json.loads(line) for line in shown.stdout.splitlines()]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each case, the directory of the uninterrupted run's snapshots."""
    return {case: tmp_path_factory.mktemp("straight") for case in CASES}


@pytest.fixture(scope="module")
def straight(directories: dict[str, Path]) -> dict[str, Ended]:
    """The result of each case without an interruption."""
    requests: list[dict[str, object]] = [
        {"spec": CASES[case].model_dump(mode="json"), "resume": None, "directory": str(directories[case])}
        for case in CASES
    ]
    return dict(zip(CASES, carry_out(requests), strict=True))


@pytest.fixture(scope="module")
def resumed(
    straight: dict[str, Ended], directories: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, int], Ended]:
    """The result of each case when resumed from each snapshot."""
    del straight  # needed only for its snapshots
    elsewhere = str(tmp_path_factory.mktemp("resumed"))
    requests: list[dict[str, object]] = [
        {
            "spec": CASES[case].model_dump(mode="json"),
            "resume": str(directories[case] / f"{saved_at}.safetensors"),
            "directory": elsewhere,
        }
        for case, saved_at in reversed(POINTS)
    ]
    return dict(zip(reversed(POINTS), carry_out(requests), strict=True))


def test_every_objective_term_and_norm_is_resumed_with_dcgan() -> None:
    specs = [CASES[case] for case in CASES if isinstance(CASES[case].architecture, Dcgan)]
    assert {type(spec.objective) for spec in specs} == OBJECTIVES.keys()
    assert {type(term) for spec in specs for term in spec.terms} == TERMS.keys()
    assert {spec.architecture.discriminator_norm for spec in specs} == set(get_args(Norm))


@pytest.mark.parametrize("case", CASES)
def test_uninterrupted_run_finishes_in_channels_last(straight: dict[str, Ended], case: str) -> None:
    assert straight[case].get("layout") == "channels_last", straight[case].get("error")


@pytest.mark.parametrize(("case", "saved_at"), POINTS)
def test_resumed_run_equals_the_uninterrupted_one(
    straight: dict[str, Ended], resumed: dict[tuple[str, int], Ended], case: str, saved_at: int
) -> None:
    assert resumed[case, saved_at] == straight[case]
