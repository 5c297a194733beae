"""A process of the embedded stack: started under a guard, its output forwarded, restarted when it dies."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.configuration import EXIT_CODE
from service.console import say

logger = logging.getLogger(__name__)

GUARD = Path(__file__).with_name("guard.py")
BACKOFF_SECONDS = (0.1, 10.0)
WELL_AFTER_SECONDS = 10.0
"""A process that has run this long is in no crash loop, and its backoff is reset; as in Docker. One that
rejects its settings has not run, however long it took to import torch."""
LAST_WORDS_SECONDS = 0.1
"""To drain the pipe of a process that ended; some other process may hold the pipe open for longer."""


class GuardedProcess:
    """Keeps a process running until stopped; a crash loop backs off from a tenth of a second to ten.

    A shielded one does not get SIGTERM and SIGINT, whoever sends them; only `end` ends it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        *,
        shielded: bool = False,
    ) -> None:
        self.name = name
        self.has_run_well = False
        """Whether it has once run for long enough: its settings were good then."""
        self._shield = ["--shielded"] if shielded else []
        self._command = [*command]
        self._environment = dict(environment)
        self._cwd = cwd
        self._stopping = False
        self._process: subprocess.Popen[str] | None = None
        self._lifeline = -1
        self._started_at = 0.0
        self._restart_at = 0.0
        self._backoff = BACKOFF_SECONDS[0]
        self._reader: threading.Thread | None = None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before its start."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it, with a lifeline that only the launcher holds.

        Raises:
            OSError: out of memory, or of file descriptors.
            RuntimeError: no thread can be started for its output; the process has started, and ends at once.
        """
        theirs, self._lifeline = os.pipe()
        try:
            self._process = self._begin(theirs)
            self._started_at = time.monotonic()
            reader = threading.Thread(target=self._pass_on_output, args=(self._process,), daemon=True)
            reader.start()
        except (OSError, RuntimeError):
            self._cut_lifeline()
            raise
        finally:
            os.close(theirs)
        self._reader = reader

    def _begin(self, theirs: int) -> "subprocess.Popen[str]":
        return subprocess.Popen(  # noqa: S603 — the command is our own
            [sys.executable, "-I", "-S", str(GUARD), *self._shield, str(theirs), *self._command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            cwd=self._cwd,
            pass_fds=(theirs,),
            text=True,
            errors="replace",
        )

    def _cut_lifeline(self) -> None:
        """Idempotent, because a second close could hit another file with the same descriptor."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
        self._lifeline = -1

    def restart_if_dead(self) -> bool:
        """Check once; restart it after its backoff. Returns whether it has died since the last check."""
        if self._process is None or self._stopping or self._process.poll() is None:
            return False
        now = time.monotonic()
        if self._restart_at == 0.0:
            if now - self._started_at > WELL_AFTER_SECONDS and self._process.returncode != EXIT_CODE:
                self.has_run_well = True
                self._backoff = BACKOFF_SECONDS[0]
            logger.warning(
                "%s ended (%s); restarting in %.1f s", self.name, self._process.returncode, self._backoff
            )
            self._back_off(now)
            return True
        if now < self._restart_at:
            return False
        self._cut_lifeline()
        try:
            self.start()
        except (OSError, RuntimeError) as error:  # it has not run, so this is no other end
            logger.warning("%s cannot be started now: %s", self.name, error)
            self._back_off(now)
        else:
            self._restart_at = 0.0
        return False

    def _back_off(self, now: float) -> None:
        """Be due after the current pause; the next pause is twice as long."""
        self._restart_at = now + self._backoff
        self._backoff = min(self._backoff * 2, BACKOFF_SECONDS[1])

    def terminate(self) -> None:
        """Send SIGTERM, and stop restarting it."""
        self._stopping = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, deadline: float) -> bool:
        """Wait until `deadline` (monotonic), then kill its group. Returns whether it ended by itself."""
        if self._process is None:
            return True
        self._stopping = True
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
            willing = True
        except subprocess.TimeoutExpired:
            willing = False
        self._cut_lifeline()
        self._process.wait()
        if self._reader is not None:
            self._reader.join(LAST_WORDS_SECONDS)
        self._process = None
        return willing

    def _pass_on_output(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            say(f"{self.name:<10} | {line}")
