"""A worker as a process, which works in a directory of its own."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120


@pytest.fixture
def preparer(redis_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A preparer that was started in `tmp_path`, with a relative path as a setting."""
    settings = {"DATA_ROOT": str(tmp_path / "data"), "HEARTBEAT_FILE": "heartbeat", "REDIS_URL": redis_url}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "worker", "--role", "prepare"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **{f"DCGAN_{name}": value for name, value in settings.items()},
        },
        stdout=subprocess.DEVNULL,
    )
    yield process
    process.terminate()
    process.wait(PATIENCE_SECONDS)


def test_relative_heartbeat_file_is_below_the_directory_in_which_the_worker_was_started(
    preparer: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    for _ in range(20 * PATIENCE_SECONDS):
        if [*tmp_path.rglob("heartbeat")] or preparer.poll() is not None:
            break
        threading.Event().wait(0.05)
    assert [*tmp_path.rglob("heartbeat")] == [tmp_path / "heartbeat"]
