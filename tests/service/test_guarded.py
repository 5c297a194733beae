"""A process of the embedded stack runs even if nobody reads its output, and is restarted when it dies."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from contract.configuration import EXIT_CODE
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


@pytest.mark.parametrize("leaves", [True, False])
def test_process_keeps_running_when_nobody_reads_its_output(tmp_path: Path, *, leaves: bool) -> None:
    command = [sys.executable, "-c", LAUNCHER]
    environment = {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout and launcher.stderr
        assert launcher.stdout.readline() == "chatterbox | more than a pipe holds\n"
        if leaves:
            launcher.stdout.close()
        assert launcher.wait(120) == 0
        assert launcher.stderr.read() == ""
    assert (tmp_path / "said").exists()


@pytest.mark.parametrize(
    ("code", "well_after", "pauses"),
    [
        (0, 60.0, ["0.1", "0.2", "0.4"]),
        (0, 0.0, ["0.1"] * 3),
        (EXIT_CODE, 0.0, ["0.1", "0.2", "0.4"]),
    ],
)
def test_only_a_crash_loop_is_slowed_down(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
    well_after: float,
    pauses: list[str],
) -> None:
    """A process that ran long enough, but not only to reject its settings, is restarted soon."""
    monkeypatch.setattr(guarded, "WELL_AFTER_SECONDS", well_after)
    process = GuardedProcess("mortal", [sys.executable, "-c", f"exit({code})"], os.environ, tmp_path)
    process.start()
    told: list[str] = []
    until = time.monotonic() + 60
    while len(told) < len(pauses) and time.monotonic() < until:
        process.restart_if_dead()
        told = re.findall(r"restarting in ([\d.]+) s", caplog.text)
        time.sleep(0.01)
    process.end(time.monotonic() + 10)
    assert told == pauses


@pytest.mark.parametrize(
    ("lacking", "error"),
    [
        ("os.pipe", BlockingIOError),
        ("subprocess.Popen", BlockingIOError),
        ("threading.Thread.start", RuntimeError),
    ],
)
def test_process_that_cannot_be_restarted_now_is_restarted_later(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lacking: str,
    error: type[Exception],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("no more of these")

    process, born = (
        GuardedProcess("mortal", ["sh", "-c", "echo >> born"], os.environ, tmp_path),
        tmp_path / "born",
    )
    process.start()
    until = time.monotonic() + 60
    with monkeypatch.context() as failing:
        failing.setattr(lacking, fail)
        while "cannot be started now" not in caplog.text and time.monotonic() < until:
            process.restart_if_dead()
        while process.exit_code is None and time.monotonic() < until:
            time.sleep(0.01)
    born.unlink()
    while not born.exists() and time.monotonic() < until:
        process.restart_if_dead()
    assert process.end(until)
    assert born.exists()


def test_failed_restart_is_neither_another_end_nor_a_long_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only what has run well may reject its settings later without stopping the stack."""

    def fail(*_: object, **__: object) -> None:
        raise BlockingIOError("no more of these")

    process = GuardedProcess("mortal", ["false"], os.environ, tmp_path)
    process.start()
    until = time.monotonic() + 60
    while not process.restart_if_dead():
        assert time.monotonic() < until
        time.sleep(0.01)
    monkeypatch.setattr(guarded, "WELL_AFTER_SECONDS", 0.0)  # its start is that long ago by now
    monkeypatch.setattr("subprocess.Popen", fail)
    ends = 0
    while caplog.text.count("cannot be started now") < 2:
        ends += process.restart_if_dead()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.end(until)
    assert ends == 0
    assert not process.has_run_well


def test_process_without_a_thread_for_its_output_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = GuardedProcess("unheard", ["sleep", "600"], os.environ, tmp_path)

    def fail(_: object) -> None:
        raise RuntimeError("no more of these")

    with monkeypatch.context() as failing:
        failing.setattr("threading.Thread.start", fail)
        with pytest.raises(RuntimeError):
            process.start()
    assert process.end(time.monotonic() + 30)


@pytest.mark.parametrize(("ending", "code"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_guard_exits_with_the_code_that_a_shell_would(ending: str, code: int) -> None:
    theirs, lifeline = os.pipe()
    command = [sys.executable, "-I", "-S", str(guarded.GUARD), str(theirs), "sh", "-c", ending]
    assert subprocess.run(command, pass_fds=(theirs,), check=False).returncode == code
    os.close(theirs)
    os.close(lifeline)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux tells a process's children here")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_guard_that_is_killed_while_starting_its_command_leaves_no_process_behind(
    ending: signal.Signals,
) -> None:
    for _ in range(10):
        theirs, lifeline = os.pipe()
        command = [sys.executable, "-I", "-S", str(guarded.GUARD), str(theirs), "sleep", "600"]
        with subprocess.Popen(command, pass_fds=(theirs,)) as guard:
            children = Path(f"/proc/{guard.pid}/task/{guard.pid}/children")
            while not (born := children.read_text()):
                assert guard.poll() is None
            guard.send_signal(ending)
        os.close(theirs)
        os.close(lifeline)
        give_up = time.monotonic() + 60
        while _lives(int(born)):
            assert time.monotonic() < give_up


SPARED = """
import os, pathlib, signal, sys, time
ending = {signal.SIGTERM, signal.SIGINT}
for number in ending:
    signal.signal(number, lambda *_: sys.exit())  # as Redis does
print(os.getppid(), os.getpid(), file=open("written", "w"))
os.rename("written", "born")
while signal.sigpending() < ending:
    time.sleep(0.01)
pathlib.Path("spared").touch()
time.sleep(600)
"""


def test_shielded_process_outlives_signals_to_it_and_its_guard_until_it_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SPARED]
    process = GuardedProcess("shielded", command, os.environ, tmp_path, shielded=True)
    process.start()
    _await_file(tmp_path / "born", process)
    guard, shielded = map(int, (tmp_path / "born").read_text().split())
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(guard, number)
        os.kill(shielded, number)
    _await_file(tmp_path / "spared", process)
    assert not process.end(time.monotonic())
    assert not _lives(shielded)


def _await_file(file: Path, process: GuardedProcess) -> None:
    give_up = time.monotonic() + 60
    while not file.exists():
        assert process.exit_code is None and time.monotonic() < give_up
        time.sleep(0.01)


def _lives(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
