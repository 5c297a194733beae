"""What the launcher does with a process that rejects its settings, before and after all were ready."""

import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest

from contract.configuration import EXIT_CODE
from contract.volume import Volume
from service.embedded_redis import CannotStartError
from service.guarded import GuardedProcess
from service.launcher import Launcher
from tests.service.waiting import until


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    """With a process that has rejected its settings."""
    launcher = Launcher(Namespace(), Volume(tmp_path))
    process = GuardedProcess("worker", [sys.executable, "-c", f"exit({EXIT_CODE})"], {}, tmp_path)
    launcher._servers, launcher._processes = [], [process]
    process.start()
    until(lambda: process.exit_code == EXIT_CODE)
    return launcher


def test_service_does_not_start_with_settings_that_a_process_rejects(launcher: Launcher) -> None:
    with pytest.raises(CannotStartError, match="the worker cannot begin with its settings"):
        launcher._restart_who_died()


def test_service_that_has_been_ready_goes_on_without_a_process_that_lost_its_gpu(
    launcher: Launcher, caplog: pytest.LogCaptureFixture
) -> None:
    launcher._has_been_ready = True
    launcher._restart_who_died()
    assert f"worker ended ({EXIT_CODE}); restarting" in caplog.text
    launcher._processes[0].end(time.monotonic())
