import os
import subprocess
import sys
from functools import cache

import pytest
import torch

from models.arithmetic import arithmetic
from models.environment import NumericEnvironment, detect
from tests.conftest import proof

RENDERED = """
import hashlib
from contract.checkpoint import CheckpointHeader
from models import networks
from models.inference import rendering_environment
from models.sampler import Sampler, renderer
from tests.trained import spec_of

environment = rendering_environment("cpu", 1)
environment.apply()
spec = spec_of("dcgan", width=8)
generator = networks.build(spec.architecture, spec.resolution, spec.channels).generator
generator.initialise(0)
header = CheckpointHeader(job="job_" + "0" * 16, spec=spec, images_seen=0)
floats = Sampler(generator, header, environment).render_floats(range(4))
print(renderer(environment), hashlib.sha256(floats.tobytes()).hexdigest())
"""
LIMITS = ("ALL", "SSE41", "AVX2", "AVX")[: proof(2, 4)]


@cache
def rendered(limit: str) -> tuple[str, str]:
    """The renderer of a process whose oneDNN is limited to an instruction set, and a hash of its images."""
    done = subprocess.run(
        [sys.executable, "-c", RENDERED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "ONEDNN_MAX_CPU_ISA": limit},
        capture_output=True,
        text=True,
        check=True,
    )
    renderer, floats = done.stdout.split()
    return renderer, floats


@pytest.fixture
def fresh() -> None:
    arithmetic.cache_clear()


def test_processes_with_the_same_renderer_give_the_same_floats() -> None:
    other_process = rendered.__wrapped__("ALL")
    assert other_process == rendered("ALL")
    of_renderer: dict[str, set[str]] = {}
    for renderer, floats in map(rendered, LIMITS):
        of_renderer.setdefault(renderer, set()).add(floats)
    assert all(len(floats) == 1 for floats in of_renderer.values()), of_renderer


def test_arithmetic_is_the_same_in_processes_that_compute_alike(fresh: None) -> None:
    assert arithmetic(torch.float32) in rendered("ALL")[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 3])
def test_arithmetic_neither_depends_on_threads_nor_changes_the_state_of_torch(
    dtype: torch.dtype, threads: int, fresh: None, environment: NumericEnvironment
) -> None:
    alone = arithmetic(dtype)
    arithmetic.cache_clear()
    torch.set_num_threads(threads)
    try:
        randomness, enabled = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled()
        assert arithmetic(dtype) == alone
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), randomness)
        assert torch.are_deterministic_algorithms_enabled() == enabled
        assert torch.is_grad_enabled()
    finally:
        environment.apply()


def test_arithmetic_does_not_depend_on_autocast(fresh: None) -> None:
    alone = arithmetic(torch.float32)
    arithmetic.cache_clear()
    with torch.autocast("cpu", torch.bfloat16):
        assert arithmetic(torch.float32) == alone


def test_environment_recorded_without_arithmetic_agrees() -> None:
    now = detect("cpu", 2, "float32")
    earlier = now.model_copy(update={"isa": now.isa.partition("+")[0]})
    assert now.agrees_with(now)
    assert now.agrees_with(earlier)
    assert not now.agrees_with(earlier.model_copy(update={"threads": 3}))
    assert not now.agrees_with(earlier.model_copy(update={"isa": "other"}))


def test_environment_with_different_arithmetic_disagrees() -> None:
    now = detect("cpu", 2, "float32")
    assert not now.agrees_with(now.model_copy(update={"isa": now.isa.partition("+")[0] + "+00000000"}))
