"""A soak of half a minute finds nothing wrong."""

import subprocess
import sys

from tests.system.stack import REPOSITORY


def test_short_soak_finds_nothing_lost_doubled_or_unequal() -> None:
    command = [sys.executable, "-m", "tests.system.chaos", "--jobs", "2", "--faults", "4", "--seed", "1"]
    soak = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert soak.returncode == 0, soak.stdout + soak.stderr
