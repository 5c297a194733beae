"""The demo's real service runs within the block and is gone after it, however the block ends."""

import fcntl
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from dcgan import demo
from dcgan.errors import DcganError
from tests.conftest import proof

ENDINGS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)[: proof(2, 3)]

HOLDER = """
import sys, time
from pathlib import Path
from rich.console import Console
from dcgan import demo
with demo.running_service(Path(sys.argv[1]), Console(file=sys.stderr)) as url:
    print(url, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_process_outlives_a_demo_ended_by_a_signal(tmp_path: Path, ending: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        url = holder.stdout.readline()
        started = psutil.Process(holder.pid).children(recursive=True)
        holder.send_signal(ending)
    assert url.startswith("http://127.0.0.1:")
    assert len(started) > 5  # launcher, two Redis, gateway and three workers, most with a guard
    _, alive = psutil.wait_procs(started, timeout=20)
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
