"""The script in the documentation, which imports none of our code, gives the same pixels as the service."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from contract.checkpoint import CheckpointHeader
from contract.training import TrainingSpec
from models import networks
from models.checkpoint import load_checkpoint, save_checkpoint
from models.environment import detect
from models.sampler import Sampler

SCRIPT = Path(__file__).parents[2] / "docs" / "reproduce.py"
JOB = "job_" + "0" * 16
SPEC = TrainingSpec.model_validate(
    {
        "dataset": "ds_" + "0" * 16,
        "preset": "fast",
        "name": None,
        "resolution": 32,
        "channels": 3,
        "checkpoint_every_images": 8,
        "preview_every_images": 8,
    }
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A generator of the default architecture in which every weight and statistic matters."""
    generator = networks.build(SPEC.architecture, SPEC.resolution, SPEC.channels).generator
    random = torch.Generator().manual_seed(0)
    for name, tensor in generator.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=random) * 0.2)
        if name.endswith(("running_var", ".1.weight", ".4.weight", ".7.weight")):
            tensor.abs_().add_(0.5)
    path = tmp_path / "generator.safetensors"
    save_checkpoint(generator, CheckpointHeader(job=JOB, spec=SPEC, images_seen=0), path)
    return path


def test_script_gives_the_same_pixels(checkpoint: Path, tmp_path: Path) -> None:
    environment = detect("cpu", 1, "float32")
    environment.apply()
    generator, header = load_checkpoint(checkpoint)
    ours = Sampler(generator, header, environment).render([7])[0]
    assert ours.std() > 20
    command = [sys.executable, str(SCRIPT), str(checkpoint), "7", "seven.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.asarray(Image.open(tmp_path / "seven.png")), ours)


def test_script_is_short_and_imports_none_of_our_code() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) <= 30
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    allowed = {"json", "sys", "statistics", "numpy", "torch", "PIL", "safetensors"}
    assert {name.partition(".")[0] for name in imported} == allowed
