"""A short soak finds nothing wrong."""

import re
import subprocess
import sys

from tests.conftest import proof
from tests.system.stack import REPOSITORY

FAULTS = proof(2, 4)
SEED = 28
"""It begins with a Redis that is killed and a trainer that is stopped past its lease."""


def test_short_soak_finds_nothing_lost_doubled_or_unequal() -> None:
    numbers = ("--jobs", "2", "--faults", str(FAULTS), "--seed", str(SEED))
    command = [sys.executable, "-m", "tests.system.chaos", *numbers]
    soak = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert soak.returncode == 0, soak.stdout + soak.stderr
    assert re.search(rf"^seed {SEED}: [1-9]\d* faults", soak.stdout, re.MULTILINE), soak.stdout
