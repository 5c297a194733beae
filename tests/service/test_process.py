"""The gateway as a process: it serves, and a signal ends it."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from service.ports import free_port

ROOT = Path(__file__).parents[2]
Until = Callable[[Callable[[], object]], object]
CLIENTS_KEEP_SECONDS = 5
"""As long as httpx does."""


@pytest.fixture
def process(redis_url: str, tmp_path: Path, worker: Any) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`python -P -m service` on a free port, and its URL."""
    port = free_port()
    environment = {
        "PYTHONPATH": str(ROOT),
        "DCGAN_REDIS_URL": redis_url,
        "DCGAN_DATA_ROOT": str(worker.volume.root),
    }
    command = [sys.executable, "-P", "-m", "service", "--port", str(port)]
    started = subprocess.Popen(command, cwd=tmp_path, env=environment)
    yield started, f"http://127.0.0.1:{port}"
    started.kill()
    started.wait()


def _lives(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez").is_success
    except httpx.TransportError:
        return False


def test_idle_connection_outlives_the_time_that_clients_keep_it(
    process: tuple[subprocess.Popen[bytes], str], until: Until
) -> None:
    _, url = process
    until(lambda: _lives(url))
    address = urlsplit(url)
    assert address.hostname
    connection = HTTPConnection(address.hostname, address.port)
    connection.request("GET", "/livez")
    connection.getresponse().read()
    idle = connection.sock
    idle.settimeout(CLIENTS_KEEP_SECONDS + 1)
    with pytest.raises(TimeoutError):  # readable would mean that the gateway has closed it
        idle.recv(1)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_gateway_within_seconds_despite_an_open_stream(
    process: tuple[subprocess.Popen[bytes], str],
    until: Until,
    new_job: Callable[[], str],
    by: signal.Signals,
) -> None:
    started, url = process
    until(lambda: _lives(url))
    with httpx.stream("GET", f"{url}/jobs/{new_job()}/events", timeout=20) as answer:
        lines = answer.iter_lines()
        while next(lines) != "event: state":
            pass
        started.send_signal(by)
        assert not [line for line in lines if line.startswith("id:")]
    assert started.wait(20) in (0, -by)
