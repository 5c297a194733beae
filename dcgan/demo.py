"""`dcgan demo`: from a zip of pictures to a sheet of samples, with nothing left running afterwards."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from rich.console import Console

from dcgan.client import Client
from dcgan.display import follow
from dcgan.errors import DcganError
from dcgan.files import naming

TILES = 64
START_SECONDS = 120
STOP_SECONDS = 15
USUAL_PORT = 8000
PORTS = 100
"""How many are tried, from the usual one on."""
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1


def run(data_root: Path, output: Path, archive: Path, console: Console) -> None:
    """Start the service, train on the archive, write a sheet of samples, stop the service.

    Raises:
        DcganError: with a message for the user.
    """
    if not archive.is_file():
        raise DcganError(
            "no_archive", f"There is no archive at {archive}; name a zip of pictures with --archive."
        )
    _refuse_unwritable(output)
    with running_service(data_root, console) as url, Client(url) as client:
        console.print(f"The service runs at {url}; uploading {archive.name} ...")
        dataset = client.upload_dataset(archive)
        dataset = client.wait_dataset(dataset.id)
        console.print(f"Dataset {dataset.id} is ready. Training, a few minutes on two cores:")
        job = follow(client, client.create_job(dataset=dataset.id, name="demo"), console)
        if job.state != "succeeded":
            reason = job.error.detail if job.error else "see its events"
            raise DcganError("demo_failed", f"Job {job.id} ended as {job.state}: {reason}")
        assert job.checkpoint is not None
        sheet = client.samples(0, count=TILES)
        with naming(output):
            output.write_bytes(sheet)
        console.print(f"\n{output} holds the pictures of seeds 0 to {TILES - 1}. The addresses used:")
        for address in (
            f"{url}/datasets/{dataset.id}",
            f"{url}/jobs/{job.id}",
            client.samples_url(0, count=TILES),
            f"{client.samples_url(0, job.checkpoint.digest, TILES)}  (always this generator's)",
        ):
            console.print(f"  {address}", soft_wrap=True, highlight=False)
    again = f"`dcgan up --data-root {data_root}`"
    if data_root == Path("data"):  # as `make up` has it
        again = f"`make up`, or {again},"
    console.print(f"The service is stopped; {again} serves them again.", soft_wrap=True)


def _refuse_unwritable(output: Path) -> None:
    """Raise before the training, not after it, if the samples can have no place there."""
    if not output.parent.is_dir():
        why = f"there is no directory {output.parent}"
    elif output.is_dir():
        why = "it is a directory"
    elif not os.access(output if output.exists() else output.parent, os.W_OK):
        why = "you may not write there"
    else:
        return
    detail = f"The samples cannot be written to {output}: {why}; name another file with --output."
    raise DcganError("no_output", detail)


@contextmanager
def running_service(data_root: Path, console: Console) -> Iterator[str]:
    """Run a service of our own during the block, and stop it however the block ends."""
    _make_directory(data_root)
    log_path = data_root / "demo.log"
    port = _free_port()
    command = [sys.executable, "-P", "-m", "service.launcher", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--data-root", str(data_root)]
    with _signals_as_exits(), log_path.open("wb") as log:
        console.print(f"Starting the service; its log is {log_path}")
        process = subprocess.Popen(  # noqa: S603 — our own program
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C must reach only us
            preexec_fn=partial(_end_with, os.getpid()),
        )
        try:
            yield _await_ready(process, log_path)
        finally:
            _stop(process)


def _make_directory(data_root: Path) -> None:
    try:
        data_root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        detail = f"{error.filename} is not a directory; choose another --data-root."
        raise DcganError("no_data_root", detail) from error


def _await_ready(process: subprocess.Popen[bytes], log_path: Path) -> str:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        lines = log_path.read_text(errors="replace").splitlines()
        for line in lines:
            if line.startswith("ready http"):
                return line.removeprefix("ready ")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    tail = "\n".join(f"  {line}" for line in lines[-15:])
    raise DcganError("not_started", f"The service did not start; {log_path} ends with:\n{tail}")


def _end_with(demo: int) -> None:
    """In the child: have the kernel send us SIGTERM when the demo (this pid) dies, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != demo:  # it died before prctl
        os._exit(1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave the service behind
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # its guards end what it started
        process.wait()


@contextmanager
def _signals_as_exits() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and Ctrl-C unwind the stack, so that what was started is stopped."""

    def leave(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    before = [signal.signal(number, leave) for number in ENDING_SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(ENDING_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _free_port() -> int:
    """Port 8000, so that the printed URLs also work under `dcgan up`; if it is taken, one after it."""
    for port in range(USUAL_PORT, USUAL_PORT + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DcganError("no_port", f"Ports {USUAL_PORT} to {USUAL_PORT + PORTS - 1} of 127.0.0.1 are all taken.")
