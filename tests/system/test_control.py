"""Pause, resume, cancel and delete take effect on a job in training."""

import pytest

from tests.conftest import proof
from tests.system.stack import Stack, alive, caught, few_pictures, until

ENDLESS = 10**7
FREED_WITHIN_SECONDS = proof(30, 5)


@pytest.fixture
def running(stack: Stack) -> str:
    job = stack.train(images=ENDLESS)
    stack.await_images(job, 64)
    return job


def test_cancelling_a_job_ends_its_process(stack: Stack, running: str) -> None:
    child = stack.training_child()
    assert stack.http.post(f"/jobs/{running}/cancel").status_code == 202
    stack.await_state(running, "cancelled")
    until(lambda: not child.is_running(), "the end of the child")


def test_cancel_frees_the_device_even_when_the_child_hangs(stack: Stack, running: str) -> None:
    child = stack.training_child()
    child.suspend()
    assert stack.http.post(f"/jobs/{running}/cancel").status_code == 202
    stack.await_state(running, "cancelled", seconds=FREED_WITHIN_SECONDS)
    until(lambda: not alive(child), "the end of the child", FREED_WITHIN_SECONDS)
    stack.await_state(stack.train(), "succeeded")


@pytest.mark.parametrize("action", ["pause", "cancel"])
def test_control_is_idempotent_and_touches_no_other_job(stack: Stack, running: str, action: str) -> None:
    waiting = stack.train(images=ENDLESS)
    for _ in range(2):
        assert stack.http.post(f"/jobs/{running}/{action}").status_code == 202
    stack.await_state(running, {"pause": "paused", "cancel": "cancelled"}[action])
    stack.await_images(waiting, 64)
    assert stack.job(waiting)["attempt"] == 1
    for job in (running, waiting):
        stack.http.post(f"/jobs/{job}/cancel").raise_for_status()
        stack.await_state(job, "cancelled")


def test_deleting_a_dataset_stops_its_preparation(stack: Stack) -> None:
    dataset = caught(lambda: _deleted_in_preparation(stack), "a preparation that is cancelled, not finished")
    assert stack.http.get(f"/datasets/{dataset}").status_code == 410
    assert not (stack.root / "datasets" / dataset).exists()
    another = stack.upload(few_pictures())
    until(lambda: stack.get(f"/datasets/{another}")["state"] == "ready", "a ready dataset")


def _deleted_in_preparation(stack: Stack) -> str | None:
    """A dataset that was deleted before its preparation had ended; None if it was deleted later."""
    dataset = stack.upload()
    until(lambda: stack.get(f"/datasets/{dataset}")["state"] != "queued", "a claimed dataset")
    # 409: its preparer is slow to stop
    until(lambda: stack.http.delete(f"/datasets/{dataset}").status_code != 409, "a deletion")
    ends = {f"{dataset}: cancelled": dataset, f"{dataset}: succeeded": None}
    said = until(lambda: [end for end in ends if end in stack.log()], "the end of the preparation")
    return ends[said[0]]


def test_paused_job_resumes_where_it_stopped(stack: Stack, running: str) -> None:
    stack.http.post(f"/jobs/{running}/pause").raise_for_status()
    paused = stack.await_state(running, "paused")
    snapshot = max(path.name for path in (stack.root / "jobs" / running / "resume").glob("*.safetensors"))
    assert int(snapshot.partition("-")[0]) >= paused["progress"]["images_seen"] > 0
    stack.http.post(f"/jobs/{running}/resume").raise_for_status()
    stack.await_images(running, paused["progress"]["images_seen"] + 64)
    stack.http.post(f"/jobs/{running}/cancel").raise_for_status()
    stack.await_state(running, "cancelled")


def test_deleted_job_leaves_nothing_on_the_volume(stack: Stack) -> None:
    job = stack.train()
    stack.await_state(job, "succeeded")
    assert stack.http.delete(f"/jobs/{job}").status_code == 204
    assert not (stack.root / "jobs" / job).exists()
    assert stack.http.get(f"/jobs/{job}").status_code == 410
