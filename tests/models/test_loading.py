"""What loading a generator is said to take is what it takes, or more."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.checkpoint import CheckpointHeader
from contract.devices import Precision
from contract.training import TrainingSpec
from models import networks
from models.checkpoint import save_checkpoint
from models.environment import detect
from models.loading import loading_bytes

MEASURED = """
import sys
from pathlib import Path
from models.canary import canary
from models.environment import detect
from models.sampler import Sampler

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

environment = detect("cpu", 1, sys.argv[3])
environment.apply()
canary(environment)
before = peak()
Sampler.load(Path(sys.argv[1]), sys.argv[2], environment)
print(peak() - before)
"""


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "width"), [("dcgan", 64), ("resnet", 8)])
def test_estimate_covers_what_loading_takes(
    make_spec: Callable[..., TrainingSpec], tmp_path: Path, kind: str, width: int, precision: Precision
) -> None:
    """Of a narrow one at 128 px, the forward pass takes a hundred times as much as the file has."""
    spec = make_spec(architecture={"kind": kind, "generator_width": width}, resolution=128, channels=3)
    generator = networks.build(spec.architecture, spec.resolution, spec.channels).generator
    generator.initialise(0)
    path = tmp_path / "generator.safetensors"
    digest = save_checkpoint(
        generator, CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=0), path
    )
    command = [sys.executable, "-c", MEASURED, str(path), digest, precision]
    taken = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    estimate = loading_bytes(path, detect("cpu", 1, precision))
    assert 0.2 * estimate < taken < estimate


def test_estimate_of_what_is_no_checkpoint_is_that_of_its_size(tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    for content in (b"", b"{", bytes(1000), b"\xff" * 1000):
        path.write_bytes(content)
        assert loading_bytes(path, detect("cpu", 1, "float32")) == 4 * len(content)
