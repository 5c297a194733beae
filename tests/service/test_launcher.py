"""`dcgan up` says in a sentence why it cannot start, and what it prints about itself is correct."""

import errno
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract.configuration import EXIT_CODE
from service import guarded
from service.embedded_redis import CannotStartError, RedisServer
from service.guarded import GuardedProcess
from service.launcher import Launcher, Options, _refuse_busy_port
from service.ports import free_port
from tests.service.waiting import until

ROOT = Path(__file__).parents[2]


def run(*command: str, **settings: str) -> tuple[int, str]:
    """Run a module; return its exit code and all its output."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command],
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


def launcher(root: Path, host: str, port: int) -> Launcher:
    return Launcher(Options(host, port, root, trainers=1, samplers=1, allowed_hosts=()))


@pytest.mark.parametrize(
    ("process", "settings", "line"),
    [
        ("service", {"DCGAN_REDIS_URL": "localhost:6379"}, "DCGAN_REDIS_URL: a URL that begins with redis:"),
        ("service", {"DCGAN_REDIS_URL": "redis://:sec/ret@h"}, "DCGAN_REDIS_URL: redis://:PASSWORD@HOST"),
        ("service", {"DCGAN_SAMPLING_REDIS_URL": "http://me:secret@h"}, "DCGAN_SAMPLING_REDIS_URL: a URL"),
        ("service.launcher", {"DCGAN_REDIS_URL": "redis://:sec/ret@h"}, "DCGAN_REDIS_URL: redis://"),
        ("worker", {"DCGAN_SAMPLING_REDIS_URL": "http://me:secret@h"}, "DCGAN_SAMPLING_REDIS_URL: a URL"),
    ],
)
def test_invalid_setting_is_named_without_secrets(
    process: str, settings: Mapping[str, str], line: str
) -> None:
    role = ("--role", "train") if process == "worker" else ()
    code, said = run(process, *role, **settings)
    assert code == EXIT_CODE
    assert said.startswith(line)
    assert said.count("\n") == 1
    assert "Traceback" not in said and "secret" not in said


@pytest.mark.parametrize(
    ("process", "settings", "line"),
    [
        ("service", {"DCGAN_PORT": "abc"}, "DCGAN_PORT='abc': "),
        ("service", {"DCGAN_MAX_UPLOAD_BYTES": "2GiB"}, "DCGAN_MAX_UPLOAD_BYTES='2GiB': "),
        ("service", {"DCGAN_ALLOWED_HOSTS": "a, *"}, "DCGAN_ALLOWED_HOSTS='a, *': '*' was given"),
        ("worker", {"DCGAN_THREADS": "two"}, "DCGAN_THREADS='two': "),
        ("worker", {"DCGAN_LOG_LEVEL": "loud"}, "DCGAN_LOG_LEVEL='loud': one of DEBUG, "),
    ],
)
def test_value_of_an_invalid_setting_is_shown_unless_secret(
    process: str, settings: Mapping[str, str], line: str
) -> None:
    role = ("--role", "train") if process == "worker" else ()
    code, said = run(process, *role, **settings)
    assert (code, said[: len(line)]) == (EXIT_CODE, line)


def test_invalid_setting_of_a_worker_ends_the_stack(tmp_path: Path) -> None:
    arguments = (f"--port={free_port()}", f"--data-root={tmp_path}")
    code, said = run("service.launcher", *arguments, DCGAN_THREADS="two")
    assert code == 1
    assert "DCGAN_THREADS='two'" in said
    assert "cannot begin with its settings" in said.splitlines()[-1]
    assert "restarting" not in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--port=0"], "ports are from 1 to 65535"),
        (["--port=99999"], "ports are from 1 to 65535"),
        (["--data-root={}/file"], "dcgan up: {}/file is not a directory; choose another"),
        (["--data-root={}/file/below"], "dcgan up: {}/file/below is not a directory; choose another"),
        (["--data-root=/proc/nowhere"], "cannot use /proc/nowhere: "),
        (["--data-root={}/\udcff"], "is not valid UTF-8; choose another --data-root"),
    ],
)
def test_unusable_port_or_data_root_is_reported_with_the_reason(
    tmp_path: Path, arguments: list[str], why: str
) -> None:
    (tmp_path / "file").touch()
    code, said = run("service.launcher", *(argument.format(tmp_path) for argument in arguments))
    assert code != 0
    assert why.format(tmp_path) in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
        ("gpu.example", "http://gpu.example:8000"),
    ],
)
def test_printed_url_can_be_connected_to(tmp_path: Path, host: str, url: str) -> None:
    assert launcher(tmp_path, host, 8000).url == url


def test_given_redis_carries_the_sampling_traffic_beside_our_own_for_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = "redis://127.0.0.1:7/1"
    monkeypatch.delenv("DCGAN_REDIS_URL", raising=False)
    monkeypatch.setenv("DCGAN_SAMPLING_REDIS_URL", given)
    stack = launcher(tmp_path, "127.0.0.1", 8000)
    stack.prepare()
    (ours,) = stack._servers
    assert ours.directory == tmp_path / "redis"
    for process in stack._processes:
        assert process._environment["DCGAN_REDIS_URL"] == ours.url
        assert process._environment["DCGAN_SAMPLING_REDIS_URL"] == given


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


class _NotHttpAtFirst(_Ready):
    """Another program, which has the port for a moment."""

    answers = 0

    def do_GET(self) -> None:
        type(self).answers += 1
        if self.answers > 1:
            super().do_GET()
        else:
            self.wfile.write(b"-ERR wrong number of arguments\r\n")


@contextmanager
def _answering(answer: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Run a server until the end of the block, and yield its port."""
    with HTTPServer(("127.0.0.1", 0), answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


@pytest.mark.parametrize("answer", [_Ready, _NotHttpAtFirst])
def test_readiness_probe_ignores_proxies_and_other_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: type[BaseHTTPRequestHandler]
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    said: list[str] = []
    monkeypatch.setattr("service.launcher.say", said.append)
    with _answering(answer) as port:
        announcing = threading.Thread(target=launcher(tmp_path, "127.0.0.1", port)._announce, daemon=True)
        announcing.start()
        announcing.join(60)
        assert said == [f"ready http://127.0.0.1:{port}\n"]


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[[str, int], Launcher]]:
    """Makes a launcher of one process, for a gateway at a port."""
    processes: list[GuardedProcess] = []

    def launch(script: str, port: int) -> Launcher:
        one = launcher(tmp_path, "127.0.0.1", port)
        process = GuardedProcess("worker", ["sh", "-c", script], os.environ, tmp_path)
        one._processes = [process]
        processes.append(process)
        process.start()
        return one

    yield launch
    for process in processes:
        process.end(time.monotonic())


def test_settings_that_a_process_rejects_end_the_stack_though_the_service_is_ready(
    launched: Callable[[str, int], Launcher],
) -> None:
    """The workers of other machines may make it ready."""
    with _answering(_Ready) as port:
        stack = launched(f"exit {EXIT_CODE}", port)
        stack._announce()
        with pytest.raises(CannotStartError, match="the worker cannot begin with its settings"):
            until(stack._restart_who_died)


@pytest.mark.parametrize(("well_after", "goes_on"), [(0.0, True), (60.0, False)])
def test_stack_goes_on_without_a_process_that_rejects_its_settings_only_if_it_ran_well_with_them(
    launched: Callable[[str, int], Launcher],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    well_after: float,
    goes_on: bool,
) -> None:
    """As one that has lost its GPU; that may come back."""
    monkeypatch.setattr(guarded, "WELL_AFTER_SECONDS", well_after)
    stack = launched(f"test -e begun && exit {EXIT_CODE}; touch begun; exit 1", 8000)

    def is_restarted() -> bool:
        stack._restart_who_died()
        return f"worker ended ({EXIT_CODE}); restarting" in caplog.text

    with nullcontext() if goes_on else pytest.raises(CannotStartError):
        until(is_restarted)


@pytest.mark.parametrize(("free", "is_full"), [(0, True), (2**30, False)])
def test_death_of_redis_is_logged_with_its_last_output_and_whether_the_disk_is_full(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    free: int,
    is_full: bool,
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    server = RedisServer("redis://127.0.0.1:1/0", (), tmp_path)
    server.log.write_text("Can't open the append-only file\n")
    with caplog.at_level(logging.WARNING):
        launcher(tmp_path, "127.0.0.1", 8000)._say_why_redis_died(server)
    assert "append-only file" in caplog.text
    assert ("is full" in caplog.text) == is_full


def test_death_of_redis_is_logged_even_if_the_volume_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "gone"
    launcher(gone, "127.0.0.1", 8000)._say_why_redis_died(RedisServer("redis://127.0.0.1:1/0", (), gone))
    assert f"the volume at {gone} cannot be read: No such file" in caplog.text


def test_unavailable_host_address_is_not_blamed_on_the_data_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lack(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", lack)
    with pytest.raises(CannotStartError, match=r"cannot listen on ::1 port 8000 .*choose another --host"):
        _refuse_busy_port("::1", 8000)
