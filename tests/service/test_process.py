"""The gateway as a process: it serves, and a signal ends it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn

from contract.job import CheckpointFact
from contract.keys import ESTIMATES_WAITING, SAMPLES_WAITING
from contract.volume import Volume
from service.__main__ import _Server, main
from service.ports import free_port
from service.problems import Problem
from tests.service.playing import Sampler, Worker
from tests.service.waiting import until

ROOT = Path(__file__).parents[2]
PROXIES_KEEP_SECONDS = 60
"""As long as nginx keeps idle connections; httpx keeps them for 5 s."""


@pytest.fixture
def process(redis_url: str, tmp_path: Path, worker: Worker) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`python -P -m service` on a free port, and its URL."""
    port = free_port()
    environment = {
        "PYTHONPATH": str(ROOT),
        "DCGAN_REDIS_URL": redis_url,
        "DCGAN_DATA_ROOT": str(worker.volume.root),
    }
    command = [sys.executable, "-P", "-m", "service", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=log)
    yield started, f"http://127.0.0.1:{port}"
    started.kill()
    started.wait()


def _lives(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez").is_success
    except httpx.TransportError:
        return False


def test_log_has_times_and_levels(process: tuple[subprocess.Popen[bytes], str], tmp_path: Path) -> None:
    until(lambda: _lives(process[1]))
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ +", line) for line in lines)
    assert any(line.endswith("Application startup complete.") for line in lines)


def test_idle_connection_outlives_the_time_that_clients_and_proxies_keep_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configured: list[uvicorn.Config] = []
    monkeypatch.setattr(sys, "argv", ["service"])
    monkeypatch.setattr(_Server, "run", lambda server: configured.append(server.config))
    main()
    (config,) = configured
    assert config.timeout_keep_alive > PROXIES_KEEP_SECONDS


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_gateway_within_seconds_despite_an_open_stream(
    process: tuple[subprocess.Popen[bytes], str], new_job: Callable[[], str], by: signal.Signals
) -> None:
    started, url = process
    until(lambda: _lives(url))
    with httpx.stream("GET", f"{url}/jobs/{new_job()}/events", timeout=60) as answer:
        lines = answer.iter_lines()
        while next(lines) != "event: state":
            pass
        started.send_signal(by)
        assert not [line for line in lines if line.startswith("id:")]
    assert started.wait(60) in (0, -by)


def test_signal_ends_the_gateway_while_a_call_to_its_volume_hangs(
    process: tuple[subprocess.Popen[bytes], str], volume: Volume, new_job: Callable[[], str]
) -> None:
    started, url = process
    until(lambda: _lives(url))
    job_id = new_job()
    pipe = volume.preview(job_id, 7)
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(
            _answer, url, b"GET /jobs/%b/previews/7.png HTTP/1.1\r\nHost: localhost\r\n\r\n" % job_id.encode()
        )
        writer = until(lambda: _opened(pipe))
        started.send_signal(signal.SIGINT)  # SIGTERM ends it even if a thread does not
        assert started.wait(60) in (0, -signal.SIGINT)
        os.close(writer)
        asked.result()


def _opened(pipe: Path) -> int | None:
    """The writing end, as soon as somebody reads it; who then waits for it to be closed."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def test_requests_that_a_stopping_gateway_cannot_answer_are_to_be_sent_again(
    process: tuple[subprocess.Popen[bytes], str],
    worker: Worker,
    sampler: Sampler,
    dataset: str,
    finished: CheckpointFact,
    tmp_path: Path,
) -> None:
    started, url = process
    until(lambda: _lives(url))
    sampler.hold()
    upload = b"POST /datasets HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
    dry_run = b'{"dataset":"%b"}' % dataset.encode()
    asked = [
        b"GET /samples?seed=1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /jobs?dry_run=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(dry_run), dry_run),
        upload,
    ]
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = [threads.submit(_answer, url, one) for one in asked]
        until(lambda: worker.redis.llen(SAMPLES_WAITING) and worker.redis.llen(ESTIMATES_WAITING))
        until(lambda: list(worker.volume.incoming_uploads.iterdir()))
        started.terminate()
        for answer in answers:
            head, _, body = answer.result().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert {b"retry-after: 2", b"connection: close"} <= set(head.split(b"\r\n"))
            assert Problem.model_validate_json(body).code == "shutting_down"
    started.wait(60)
    assert not list(worker.volume.incoming_uploads.iterdir())
    assert "Traceback" not in (tmp_path / "log").read_text()


def _answer(url: str, request: bytes) -> bytes:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request)
        return connection.makefile("rb").read()
