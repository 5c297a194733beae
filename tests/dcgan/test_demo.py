"""The demo's real service runs within the block and is gone after it, however the block ends."""

import fcntl
import os
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console

from dcgan import demo
from dcgan.cli import main
from dcgan.errors import DcganError
from tests.conftest import proof
from tests.service.waiting import until

ENDINGS = [(signal.SIGKILL, True), (signal.SIGINT, False), (signal.SIGTERM, True)][: proof(2, 3)]

HOLDER = """
import sys, time
from pathlib import Path
from rich.console import Console
from dcgan import demo
demo.START_SECONDS = 500
with demo.running_service(Path(sys.argv[1]), Console(file=sys.stderr)) as url:
    print(url, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(("ending", "is_ready"), ENDINGS)
def test_no_process_outlives_a_demo_ended_by_a_signal(
    tmp_path: Path, ending: signal.Signals, *, is_ready: bool
) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        url = holder.stdout.readline() if is_ready else ""
        demo_process = psutil.Process(holder.pid)
        # launcher, two Redis, gateway and three workers, most with a guard
        until(lambda: len(demo_process.children(recursive=True)) > 5)
        started = demo_process.children(recursive=True)
        holder.send_signal(ending)
    assert url.startswith("http://127.0.0.1:") == is_ready
    _, alive = psutil.wait_procs(started, timeout=120)
    assert not alive


def test_refused_start_is_reported_in_the_launchers_words(tmp_path: Path) -> None:
    with (tmp_path / "launcher.lock").open("w") as lock:
        lock.write('{"pid": 1, "url": "http://127.0.0.1:1"}')
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(DcganError, match="already served by process 1"),
            demo.running_service(tmp_path, Console(file=StringIO())),
        ):
            pass


def test_the_demo_needs_an_archive(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["demo", "--archive", str(tmp_path / "none.zip"), "--data-root", str(tmp_path)]
    )
    assert done.exit_code == 1
    assert "There is no archive at" in done.output


def refused(*words: str | Path) -> str:
    done = CliRunner().invoke(main, ["demo", "--archive", __file__, *map(str, words)])
    assert done.exit_code == 1
    assert "Starting the service" not in done.output
    return done.output


@pytest.mark.parametrize(
    ("output", "why"), [("no/s.png", "there is no directory {root}/no"), ("there", "it is a directory")]
)
def test_impossible_output_is_reported_before_anything_starts(tmp_path: Path, output: str, why: str) -> None:
    (tmp_path / "there").mkdir()
    told = refused("--output", tmp_path / output, "--data-root", tmp_path / "data")
    assert f"to {tmp_path / output}: {why.format(root=tmp_path)}; name another file with --output." in told
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_write_protected_output_is_reported_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    target = tmp_path / "s.png"
    if exists:
        target.touch()
    protected = target if exists else tmp_path
    monkeypatch.setattr(os, "access", lambda path, _: path != protected)
    assert "you may not write there" in refused("--output", target, "--data-root", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["file", "file/data"])
def test_data_root_that_is_no_directory_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    told = refused("--output", tmp_path / "s.png", "--data-root", tmp_path / name)
    assert told.startswith(f"Error: {tmp_path / name} is not a directory; choose another --data-root.")
