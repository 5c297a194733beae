"""The whole service notifies a webhook receiver of a job's end."""

from tests.service.receiver import SECRET, receiving
from tests.system.stack import Stack, until


def test_trained_job_is_delivered_to_its_receiver(stack: Stack) -> None:
    with receiving() as receiver:
        job_id = stack.train(webhook=receiver.webhook)
        job = stack.await_state(job_id, "succeeded")
        until(lambda: stack.job(job_id)["webhook"]["delivery"] == "delivered", "a delivery")
    (call,) = receiver.calls
    assert call.id == f"{job_id}-succeeded-own"
    assert call.said["data"]["checkpoint"] == job["checkpoint"]["digest"]
    assert SECRET not in stack.log()
    assert "token-in" not in stack.log()
    home = stack.root / "jobs" / job_id
    told = [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert told == [home / "submission.json"]
