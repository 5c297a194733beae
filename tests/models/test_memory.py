"""A run that would not fit into memory is refused before it starts, with advice."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import ErrorCode, ServiceError
from contract.training import TrainingSpec
from models.environment import NumericEnvironment
from models.memory import needed_bytes, pictures_bytes, require_memory
from models.rehearsal import rehearse
from tests.conftest import proof

MakeSpec = Callable[..., TrainingSpec]

GIB = 2**30
WIDE = {"kind": "dcgan", "generator_width": 64, "discriminator_width": 64}

PEAK_OF_A_RUN = """
import sys
from pathlib import Path
import numpy as np
from contract.training import TrainingSpec
from models import checkpoint
from models.allocator import keep_freed_memory
from models.batches import Batches
from models.environment import detect
from models.evaluation import Judge
from models.features import embedded
from models.panel import Panel
from models.state import TrainingState
from models.trainer import train

def told(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

spec = TrainingSpec.model_validate_json(sys.argv[1])
environment = detect("cpu", 1, "float32")
environment.apply()
pictures = np.zeros((1000, spec.channels, spec.resolution, spec.resolution), np.uint8)
keep_freed_memory()
before = told("VmRSS")
state = TrainingState.fresh(spec, environment)
size, seed = spec.batch_size, spec.seed
batches = Batches(pictures, np.arange(4), batch_size=size, seed=seed, device="cpu", mirror=False)
for _ in train(state, batches):
    pass
panel = Panel.of(np.arange(500), np.arange(744, 1000), seed)
assert Judge(spec, pictures, panel, embedded.load("cpu")).evaluate(state, {})
checkpoint.save_snapshot(state, Path(sys.argv[2]))
print(told("VmHWM") - before)
"""


MOST_RUNS = 3
LEAST_RATIO, MOST_RATIO = 0.95, proof(2.0, 1.5)
"""Of the estimate to the peak. Peaks of equal runs differ by a tenth to a third, and on a busy machine by
more, because the kernel takes back pages as it sees fit: that only raises the ratio."""


def refusal(spec: TrainingSpec, environment: NumericEnvironment, available: int) -> ServiceError:
    with pytest.raises(ServiceError) as refused:
        require_memory(spec, environment, available)
    return refused.value


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's peak here")
@pytest.mark.parametrize(("resolution", "width", "batch_size"), [(32, 64, 64), (64, 16, 256), (128, 4, 2)])
def test_estimate_is_near_the_peak_of_a_real_run(
    make_spec: MakeSpec,
    environment: NumericEnvironment,
    tmp_path: Path,
    resolution: int,
    width: int,
    batch_size: int,
) -> None:
    """The peak is in a snapshot in one case, in a step in another, and in an evaluation in the third."""
    networks = {"kind": "dcgan", "generator_width": width, "discriminator_width": width}
    spec = make_spec(
        resolution=resolution, architecture=networks, batch_size=batch_size, images=2 * batch_size
    )
    command = [sys.executable, "-c", PEAK_OF_A_RUN, spec.model_dump_json(), str(tmp_path / "snapshot")]
    needed = needed_bytes(spec, environment)
    ratios: list[float] = []
    while not any(LEAST_RATIO < ratio < MOST_RATIO for ratio in ratios) and len(ratios) < MOST_RUNS:
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        ratios.append(needed / int(shown.stdout))
    assert any(LEAST_RATIO < ratio < MOST_RATIO for ratio in ratios), ratios


def test_estimate_grows_with_the_batch(make_spec: MakeSpec, environment: NumericEnvironment) -> None:
    needed = [needed_bytes(make_spec(batch_size=size), environment) for size in (2, 64, 256, 1024)]
    assert needed == sorted(set(needed))


def test_estimate_includes_the_features_of_inception(
    make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    ours, inception = make_spec(), make_spec(evaluation={"features": "inception"})
    assert needed_bytes(inception, environment) > needed_bytes(ours, environment) + 700 * 2**20


def test_estimate_includes_the_augmentation_that_guards_may_add(
    make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    without, weak, full = (
        make_spec(augmentation=given, batch_size=256) for given in (None, {"strength": 0.1}, {"strength": 1})
    )
    assert rehearse(without, environment).peak < rehearse(full, environment).peak
    assert len({needed_bytes(spec, environment) for spec in (without, weak, full)}) == 1


def test_pictures_are_copied_to_a_gpu_and_mapped_on_a_cpu(make_spec: MakeSpec) -> None:
    spec = make_spec(resolution=64, channels=3)
    assert pictures_bytes(spec, 1_000, "cuda") == 1_000 * 3 * 64 * 64
    assert pictures_bytes(spec, 1_000, "cpu") == 0


def test_estimate_grows_with_the_resolution(make_spec: MakeSpec, environment: NumericEnvironment) -> None:
    needed = [needed_bytes(make_spec(resolution=side), environment) for side in (32, 64, 128)]
    assert needed == sorted(set(needed))


def test_run_that_just_fits_is_accepted(make_spec: MakeSpec, environment: NumericEnvironment) -> None:
    require_memory(make_spec(), environment, needed_bytes(make_spec(), environment))


def test_run_that_lacks_a_byte_is_refused(make_spec: MakeSpec, environment: NumericEnvironment) -> None:
    error = refusal(make_spec(), environment, needed_bytes(make_spec(), environment) - 1)
    assert error.code is ErrorCode.INSUFFICIENT_MEMORY


def test_memory_needed_besides_the_run_counts(make_spec: MakeSpec, environment: NumericEnvironment) -> None:
    with pytest.raises(ServiceError):
        require_memory(make_spec(), environment, needed_bytes(make_spec(), environment), besides_bytes=1)


def test_refusal_names_the_needed_and_the_available_memory(
    make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    spec = make_spec(batch_size=1024, resolution=128, architecture=WIDE)
    needed = needed_bytes(spec, environment) / GIB
    detail = refusal(spec, environment, 2 * GIB).detail
    assert f"128 px in batches of 1024 needs about {needed:.1f} GiB" in detail
    assert "2.0 GiB can be had" in detail


def test_refusal_names_the_largest_halving_of_the_batch_that_fits(
    make_spec: MakeSpec, environment: NumericEnvironment
) -> None:
    available = 2 * GIB
    detail = refusal(
        make_spec(batch_size=1000, resolution=128, architecture=WIDE), environment, available
    ).detail
    found = re.search(r"Set batch_size to (\d+)", detail)
    assert found
    size = int(found[1])
    fits, does_not = (
        needed_bytes(make_spec(batch_size=batch, resolution=128, architecture=WIDE), environment)
        for batch in (size, 2 * size)
    )
    assert fits <= available < does_not


def test_refusal_says_when_no_batch_would_fit(make_spec: MakeSpec, environment: NumericEnvironment) -> None:
    detail = refusal(make_spec(architecture=WIDE), environment, 10 * 2**20).detail
    assert "No batch_size would fit: choose a smaller resolution" in detail
