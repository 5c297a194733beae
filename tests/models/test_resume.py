"""Save + resume equals straight through, bit for bit, at any step: every process of a test is a fresh one."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from contract.presets import PresetName
from contract.training import JobRequest, resolve
from tests.conftest import proof

RUN = """
import hashlib, json, sys
from pathlib import Path
from typing import Any, Literal
import numpy as np
from contract.checkpoint import CheckpointHeader
from contract.training import TrainingSpec
from models.batches import Batches
from models.checkpoint import load_snapshot, save_checkpoint, save_snapshot
from models.ema import served_generator
from models.environment import detect
from models.state import TrainingState
from models.trainer import train

asked = json.loads(sys.argv[1])
spec = TrainingSpec.model_validate(asked["spec"])
environment = detect("cpu", 2, spec.precision)
environment.apply()
state = TrainingState.fresh(spec, environment)
if asked["resume"]:
    load_snapshot(Path(asked["resume"]), state)
pictures = np.random.default_rng(0).integers(0, 256, (7, spec.channels, 32, 32), dtype=np.uint8)
batches = Batches(
    pictures, np.arange(7), batch_size=spec.batch_size, seed=spec.seed, device="cpu", mirror=spec.mirror
)
for progress in train(state, batches):
    if not asked["resume"]:
        save_snapshot(state, Path(asked["directory"]) / f"{progress.images_seen}.safetensors")
header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=state.images_seen)
digest = save_checkpoint(served_generator(state), header, Path(asked["directory"]) / "generator.safetensors")
bits = {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in state.tensors()}
hashes = {name: hashlib.sha256(content).hexdigest() for name, content in bits.items()}
print(json.dumps({"digest": digest, "layout": environment.layout, "tensors": hashes}))
"""

SIZE = {"kind": "dcgan", "latent_size": 8, "generator_width": 8, "discriminator_width": 8}
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


def small(preset: PresetName) -> dict[str, object]:
    """What a preset sets for 400 pictures, with the networks and the length of these tests."""
    request = JobRequest(dataset=SPEC["dataset"], preset=preset, resolution=32, channels=3)
    chosen = resolve(request, FourHundred()).model_dump(mode="json")
    chosen["architecture"] |= {name: SIZE[name] for name in SIZE if name != "kind"}
    return chosen | {"images": SPEC["images"], "batch_size": SPEC["batch_size"]}


class FourHundred:
    """As few pictures as a preset may find."""

    images = 400
    held_out_images = 0
    channels: Literal[1, 3] = 3
    median_width = median_height = 32


TERMS = ["mmd", "weight_penalty", "r1", "r2"]
CASES: dict[str, dict[str, object]] = {
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
    "resnet wgan_gp": {
        "objective": "wgan_gp",
        "architecture": SIZE | {"kind": "resnet", "discriminator_norm": "none"},
    },
    "augmented": {"augmentation": {}},
    "decayed": {"learning_rate_decay": 0.5},
    "terms": {"objective": "hinge", "terms": TERMS},
    "preset article": small("article"),
    "preset quality": small("quality"),
    "preset small-data": small("small-data"),
    "preset wgan-gp": small("wgan-gp"),
}
"""What is changed in the spec, by name. The last three presets do nothing that no case before them does."""

SAVED_AT = (16, 4, 8, 12, 20)


def run(case: str, directory: Path, *, resume: Path | None = None) -> dict[str, object]:
    """A trainer process: straight through with a snapshot after every step, or on from one of them."""
    asked = {
        "spec": SPEC | CASES[case],
        "resume": str(resume) if resume else None,
        "directory": str(directory),
    }
    shown = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(asked)], capture_output=True, text=True, check=True
    )
    ended: dict[str, object] = json.loads(shown.stdout)
    return ended


@dataclass(frozen=True)
class Straight:
    """The run that nobody interrupted: its case, its snapshots, and how it ended."""

    case: str
    directory: Path
    ended: dict[str, object]


@pytest.fixture(scope="module", params=list(CASES)[: proof(-3, len(CASES))])
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    directory = tmp_path_factory.mktemp("straight")
    return Straight(request.param, directory, run(request.param, directory))


@pytest.mark.parametrize("saved_at", SAVED_AT[: proof(1, 5)])
def test_resumed_run_equals_the_uninterrupted_one(straight: Straight, saved_at: int, tmp_path: Path) -> None:
    snapshot = straight.directory / f"{saved_at}.safetensors"
    assert run(straight.case, tmp_path, resume=snapshot) == straight.ended


def test_the_law_is_tested_with_channels_last(straight: Straight) -> None:
    assert straight.ended["layout"] == "channels_last"
