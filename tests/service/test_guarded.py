"""A process of the embedded stack does not depend on who reads the launcher's output."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

CHATTERBOX = """
import pathlib
for _ in range(10_000):
    print("more than a pipe holds")
pathlib.Path("said").touch()
"""
LAUNCHER = f"""
import os, pathlib, sys, time
from service.guarded import GuardedProcess
process = GuardedProcess("chatterbox", [sys.executable, "-c", {CHATTERBOX!r}], os.environ, pathlib.Path.cwd())
process.start()
assert process.end(time.monotonic() + 60)
"""


def test_process_goes_on_when_nobody_reads_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LAUNCHER]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout and launcher.stderr
        assert launcher.stdout.readline() == "chatterbox | more than a pipe holds\n"
        launcher.stdout.close()
        assert launcher.wait(20) == 0
        assert launcher.stderr.read() == ""
    assert (tmp_path / "said").exists()
