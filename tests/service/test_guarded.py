"""A process of the embedded stack needs nobody who reads its output, and is restarted when it dies."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service import guarded
from service.guarded import GuardedProcess

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


@pytest.mark.parametrize(("well_after", "pauses"), [(60.0, ["0.1", "0.2", "0.4"]), (0.0, ["0.1"] * 3)])
def test_only_a_crash_loop_is_slowed_down(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    well_after: float,
    pauses: list[str],
) -> None:
    """Who lived long enough before its death is back after the shortest pause."""
    monkeypatch.setattr(guarded, "WELL_AFTER_SECONDS", well_after)
    process = GuardedProcess("mortal", [sys.executable, "-c", "pass"], os.environ, tmp_path)
    process.start()
    told: list[str] = []
    until = time.monotonic() + 60
    while len(told) < len(pauses) and time.monotonic() < until:
        process.restart_if_dead()
        told = re.findall(r"restarting in ([\d.]+) s", caplog.text)
        time.sleep(0.01)
    process.end(time.monotonic() + 10)
    assert told == pauses
