import os
import subprocess
import sys
from functools import cache

import pytest
import torch

from models.arithmetic import arithmetic
from models.environment import NumericEnvironment, detect

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
LIMITS = ("ALL", "AVX2", "AVX", "SSE41")


@cache
def rendered(limit: str) -> tuple[str, str]:
    """The renderer of a process whose oneDNN may use so much of the processor, and what it renders."""
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


def test_renderer_of_other_arithmetic_is_another() -> None:
    of_renderer: dict[str, set[str]] = {}
    for renderer, floats in map(rendered, LIMITS):
        of_renderer.setdefault(renderer, set()).add(floats)
    assert all(len(floats) == 1 for floats in of_renderer.values()), of_renderer


def test_every_process_that_computes_alike_finds_the_same(fresh: None) -> None:
    assert arithmetic(torch.float32) in rendered("ALL")[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threads", [1, 3])
def test_neither_threads_nor_anything_of_torch_is_changed(
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


def test_autocast_around_it_changes_nothing(fresh: None) -> None:
    alone = arithmetic(torch.float32)
    arithmetic.cache_clear()
    with torch.autocast("cpu", torch.bfloat16):
        assert arithmetic(torch.float32) == alone


def test_environment_that_was_recorded_before_arithmetic_was_tried_agrees() -> None:
    now = detect("cpu", 2, "float32")
    earlier = now.model_copy(update={"isa": now.isa.partition("+")[0]})
    assert now.agrees_with(now)
    assert now.agrees_with(earlier)
    assert not now.agrees_with(earlier.model_copy(update={"threads": 3}))
    assert not now.agrees_with(earlier.model_copy(update={"isa": "other"}))


def test_environment_of_other_arithmetic_does_not_agree() -> None:
    now = detect("cpu", 2, "float32")
    assert not now.agrees_with(now.model_copy(update={"isa": now.isa.partition("+")[0] + "+00000000"}))
