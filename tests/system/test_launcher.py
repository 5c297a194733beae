"""`dcgan up`: one command that starts, guards and ends everything."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from service.ports import free_port
from tests.conftest import proof
from tests.system.stack import ENDS_WITHIN_SECONDS, REPOSITORY, Stack, alive, caught, until

STOPPING = "returned to the queue because its worker is stopping"


def test_ctrl_c_requeues_the_job_and_the_next_start_resumes_it(own_stack: Stack) -> None:
    own_stack.start()
    url = _url_of_a_picture(own_stack)
    before = own_stack.http.get(url)
    job = own_stack.train(images=10**7)
    own_stack.await_images(job, 64)
    assert own_stack.stop() < ENDS_WITHIN_SECONDS
    until(lambda: not own_stack.processes(), "the end of every process")
    own_stack.start()
    resumed = own_stack.await_images(job, 64)
    assert resumed["attempt"] == 2
    assert own_stack.snapshots(job)
    after = own_stack.http.get(url)
    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    own_stack.http.post(f"/jobs/{job}/cancel").raise_for_status()
    own_stack.await_state(job, "cancelled")
    own_stack.stop()


def test_sigterm_to_every_process_saves_the_job_as_one_to_the_launcher_does(own_stack: Stack) -> None:
    """As systemd does by default; `timeout` signals the launcher and the guards."""
    own_stack.start()
    job = own_stack.train(images=10**7)
    assert caught(lambda: _all_end_when_told(own_stack, job), "an end before the launcher kills who is slow")
    home = own_stack.root / "jobs" / job
    stated = json.loads(max(home.glob("facts-*.json")).read_bytes())
    assert (stated["state"], stated["reason"]) == ("queued", STOPPING)
    logs = (own_stack.root / "redis").rglob("appendonly.aof*")
    assert any(STOPPING.encode() in log.read_bytes() for log in logs)


def _all_end_when_told(stack: Stack, job: str) -> bool | None:
    """Tell every process to end while the job is in training. If a slow one is killed, start them again."""
    stack.await_images(job, stack.job(job)["progress"]["images_seen"] + 64)
    started = stack.launcher.children(recursive=True)
    for process in (stack.launcher, *started):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    assert stack.launcher.wait(ENDS_WITHIN_SECONDS) == 0
    until(lambda: not any(map(alive, started)), "the end of every process")
    if "did not end in time and was killed" not in stack.log_since_start():
        return True
    stack.start()
    return None


def _url_of_a_picture(stack: Stack) -> str:
    """The URL of a picture of a new generator, by its digest."""
    job = stack.train()
    stack.await_state(job, "succeeded")
    return f"/samples?seed=7&model={stack.job(job)['checkpoint']['digest']}"


def test_ctrl_c_ends_hung_processes_in_time(own_stack: Stack) -> None:
    own_stack.start()
    started = own_stack.launcher.children(recursive=True)
    for process in started:
        if "guard.py" not in " ".join(process.cmdline()):
            process.suspend()
    assert own_stack.stop() < ENDS_WITHIN_SECONDS
    until(lambda: not any(map(alive, started)), "the end of every process")


def launch(stack: Stack) -> psutil.Popen:
    """Start `dcgan up` with its output in pipes, in a session of its own as in a terminal."""
    port = str(stack.http.base_url.port)
    command = [sys.executable, "-P", "-m", "service.launcher", "--port", port, "--data-root", str(stack.root)]
    stack.launcher = psutil.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # `nohup make test` ignores it
    )
    return stack.launcher


def test_damaged_records_abort_the_start_at_once_with_what_to_do(own_stack: Stack) -> None:
    home = own_stack.root / "redis"
    home.mkdir(parents=True)
    (home / "appendonly.aof").write_text("damaged")
    started = time.monotonic()
    launcher = launch(own_stack)
    _, told = launcher.communicate(timeout=70)
    assert launcher.returncode == 1
    assert time.monotonic() - started < proof(60, 10)
    assert str(home / "redis.log") in told
    assert "Bad file format reading the append only file" in told
    assert f"move {home}/appendonly* away and start again" in told
    assert "Traceback" not in told


def test_signal_ends_the_wait_for_redis_within_a_second(own_stack: Stack) -> None:
    (own_stack.root / "redis").mkdir(parents=True)
    os.mkfifo(own_stack.root / "redis" / "appendonly.aof")  # reading it blocks for ever
    launcher = launch(own_stack)
    until(lambda: [*own_stack.root.rglob("redis.log")], "a redis-server that loads")
    signalled = time.monotonic()
    launcher.send_signal(signal.SIGTERM)
    launcher.communicate(timeout=70)
    assert launcher.returncode == 0
    assert time.monotonic() - signalled < proof(15, 1.5)  # a second, and Python's own shutdown


def test_stack_survives_a_closed_stdout_and_ends_with_its_terminal(own_stack: Stack) -> None:
    launcher = launch(own_stack)
    launcher.stdout.readline()
    launcher.stdout.close()
    until(lambda: own_stack.get("/readyz"), "a service that is whole")
    dead = own_stack.process("-m", "worker", "--role", "prepare")
    dead.kill()
    dead.wait()
    until(lambda: own_stack.find("-m", "worker", "--role", "prepare"), "a new preparer")
    job = own_stack.train(images=10**7)
    own_stack.await_images(job, 64)
    os.killpg(launcher.pid, signal.SIGHUP)
    assert launcher.wait(ENDS_WITHIN_SECONDS) == 0
    assert launcher.stderr.read() == ""
    until(lambda: not own_stack.processes(), "the end of every process")
    assert own_stack.snapshots(job)


def test_second_stack_on_the_same_data_root_is_refused_and_told_of_the_first(stack: Stack) -> None:
    address = ("--port", str(free_port()), "--data-root", str(stack.root))
    second = subprocess.run(
        [sys.executable, "-P", "-m", "service.launcher", *address],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=70,
    )
    assert second.returncode == 1
    assert stack.url in second.stderr
    assert str(stack.launcher.pid) in second.stderr


def test_foreign_packages_in_the_working_directory_are_never_imported(stack: Stack) -> None:
    assert Path(stack.launcher.cwd(), "models", "__init__.py").exists()
    stack.await_state(stack.train(), "succeeded")
    assert stack.http.get("/samples", params={"seed": 7}).status_code == 200


def test_dead_worker_is_restarted(stack: Stack) -> None:
    role = ("-m", "worker", "--role", "prepare")
    dead = stack.process(*role)
    dead.kill()
    until(lambda: [alive for alive in stack.find(*role) if alive.pid != dead.pid], "a new preparer")
    stack.await_ready()
