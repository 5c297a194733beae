"""`dcgan up`: one command that starts everything, guards it, and ends everything."""

import subprocess
import sys
from pathlib import Path

from tests.system.stack import ENDS_WITHIN_SECONDS, REPOSITORY, Stack, until


def test_ctrl_c_hands_the_job_back_and_ends_everything_in_time(own_stack: Stack) -> None:
    own_stack.start()
    job = own_stack.train(images=10**7)
    own_stack.await_images(job, 64)
    assert own_stack.stop() < ENDS_WITHIN_SECONDS
    assert own_stack.processes() == []
    own_stack.start()
    resumed = own_stack.await_images(job, 64)
    assert resumed["attempt"] == 2
    assert [*(own_stack.root / "jobs" / job / "resume").glob("*.safetensors")]
    own_stack.http.post(f"/jobs/{job}/cancel").raise_for_status()
    own_stack.await_state(job, "cancelled")
    own_stack.stop()


def test_same_url_gives_the_same_bytes_after_a_restart(own_stack: Stack) -> None:
    own_stack.start()
    job = own_stack.train()
    own_stack.await_state(job, "succeeded")
    url = f"/samples?seed=7&model={own_stack.job(job)['checkpoint']['digest']}"
    before = own_stack.http.get(url)
    own_stack.stop()
    own_stack.start()
    after = own_stack.http.get(url)
    assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    own_stack.stop()


def test_second_stack_on_the_same_data_root_is_refused_by_name(stack: Stack) -> None:
    second = subprocess.run(
        [sys.executable, "-P", "-m", "service.launcher", "--port", "0", "--data-root", str(stack.root)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=20,
    )
    assert second.returncode == 1
    assert stack.url in second.stderr
    assert str(stack.launcher.pid) in second.stderr


def test_foreign_models_package_in_the_working_directory_is_never_imported(
    own_stack: Stack, tmp_path: Path
) -> None:
    for package in ("models", "service", "worker", "contract"):
        hostile = tmp_path / "elsewhere" / package
        hostile.mkdir(parents=True)
        (hostile / "__init__.py").write_text("raise SystemExit('imported somebody else')")
    own_stack.start(cwd=tmp_path / "elsewhere")
    own_stack.await_state(own_stack.train(), "succeeded")
    assert own_stack.http.get("/samples", params={"seed": 7}).status_code == 200
    own_stack.stop()


def test_dead_worker_is_restarted(stack: Stack) -> None:
    role = ("-m", "worker", "--role", "prepare")
    dead = stack.process(*role)
    dead.kill()
    until(lambda: [alive for alive in stack.find(*role) if alive.pid != dead.pid], "a new preparer")
    stack.await_ready()
