"""The script that specifies latents gives the bits of our code and of the documented examples."""

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contract import priors as parameters
from contract.training import MAX_SEED
from models.latents import latents, shares_of
from models.priors import build, paths
from models.priors.logarithm import exp, log
from models.priors.normal import Normal

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = DOCS / "latents.py"
SPECIFIED = runpy.run_path(str(SCRIPT))
NORMAL = Normal(parameters.Normal())
EXAMPLES = re.findall(
    r"^\| (\d+) \| (\d+) \| (\S+) \| (\S+) (\S+) \| (\S+) (\S+) \|$", (DOCS / "api.md").read_text(), re.M
)
OUTERMOST = [2.0**-53, 2.0**-20, 0.075, 0.5 - 2.0**-53, 0.5, 0.925, 1 - 2.0**-53]
"""Shares at both ends of every approximation."""
SEEDS = [0, 7, 42, MAX_SEED]
WAYS = [0, 2.0**-53, 0.1, 1 / 3, 0.5, 0.9, 1 - 2.0**-53, 1]


def some_shares(count: int) -> NDArray[np.float64]:
    return np.array([*OUTERMOST, *shares_of([1], count)[0]])


def specified(name: str, values: NDArray[np.float64]) -> list[float]:
    """What a function of the script gives for each of these."""
    function: Callable[[float], float] = SPECIFIED[name]
    return [function(float(value)) for value in values]


def test_shares_are_the_specified_ones() -> None:
    assert shares_of(SEEDS, 64).tolist() == [SPECIFIED["shares"](seed, 64) for seed in SEEDS]


def test_functions_have_the_specified_bits() -> None:
    shares = some_shares(20_000)
    assert NORMAL.quantile(shares).tolist() == specified("quantile", shares)
    assert log(shares).tolist() == specified("log", shares)
    values = np.concatenate([NORMAL.quantile(shares), np.linspace(-12, 12, 5001)])
    assert NORMAL.cdf(values).tolist() == specified("phi", values)
    assert exp(-0.5 * values * values).tolist() == specified("exp", -0.5 * values * values)


@pytest.mark.parametrize("way", WAYS)
def test_points_on_a_path_have_the_specified_bits(way: float) -> None:
    start, end = some_shares(2_000), some_shares(2_000)[::-1]
    ours = paths._blended(start[None], end[None], np.array([0]), [way])[0]
    ends = zip(start.tolist(), end.tolist(), strict=True)
    assert ours.tolist() == [SPECIFIED["share_between"](*both, way) for both in ends]


def test_documentation_has_five_examples() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: "-".join(example[:3]))
def test_examples_are_the_bits_of_code_and_script(example: tuple[str, ...]) -> None:
    seed, to, at, *numbers = example
    ends = shares_of([int(seed), int(to)], 2)
    blended = paths._blended(ends[:1], ends[1:], np.array([0]), [float(at)])[0]
    drawn = paths.along(build(parameters.Normal()), ends[:1], ends[1:], [0], [float(at)])[0]
    ours = [*blended.tolist(), *drawn.tolist()]
    assert ours == [float.fromhex(one) for one in numbers]
    told = subprocess.run(
        [sys.executable, str(SCRIPT), seed, "2", to, at], capture_output=True, text=True, check=True
    )
    assert [float.fromhex(one) for one in told.stdout.split()] == [
        float.fromhex(numbers[place]) for place in (0, 2, 1, 3)
    ]


def test_script_tells_the_latent_of_a_seed() -> None:
    told = subprocess.run([sys.executable, str(SCRIPT), "7", "3"], capture_output=True, text=True, check=True)
    found = [float.fromhex(line.split()[1]) for line in told.stdout.splitlines()]
    assert found == latents([7], 3, build(parameters.Normal()))[0].tolist()


def test_script_imports_none_of_our_code() -> None:
    imported = re.findall(r"^(?:import|from) (\w+)", SCRIPT.read_text(), re.M)
    assert set(imported) == {"math", "struct", "sys", "numpy"}
