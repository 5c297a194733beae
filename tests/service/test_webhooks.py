"""Webhooks report how a job ended: signed, as the same message each time, and retried for up to a day."""

import logging
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contract.job import State
from contract.webhook import Endpoint, Webhook
from service.messages import signed_headers
from service.ports import free_port
from service.receivers import Reply
from service.webhooks import JITTER, SCHEDULE_SECONDS, pause_seconds
from tests.service.deployment import DAY, KEY, Deployment
from tests.service.receiver import SECRET, Receiver, receiving
from tests.service.waiting import until

ROOT = Path(__file__).parents[2]
GLOBAL_SECRET = "whsec_" + "Z2xvYmFs" * 4

Elsewhere = Callable[..., Deployment]


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_message_says_how_the_job_ended(here: Deployment, receiver: Receiver, state: State) -> None:
    job_id = here.end(state, webhook=receiver.webhook, name="flowers")
    until(lambda: receiver.calls)
    (call,) = receiver.calls
    job = here.client.get(f"/jobs/{job_id}").json()
    digest = job["checkpoint"]["digest"] if state is State.SUCCEEDED else None
    links = {"self": f"/jobs/{job_id}", "checkpoints": f"/jobs/{job_id}/checkpoints"}
    if digest:
        links["samples"] = f"/samples?model={digest}&seed=0&count=16"
    assert call.said == {
        "type": f"job.{state}",
        "timestamp": job["finished_at"],
        "data": {
            "id": job_id,
            "name": "flowers",
            "dataset": here.dataset,
            "state": state,
            "error": job["error"],
            "checkpoint": digest,
            "links": links,
        },
    }
    assert call.path == "/hook/token-in-path?key=token-in-query"
    assert call.headers["content-type"] == "application/json"
    assert "." not in call.id
    until(lambda: here.webhook(job_id)["delivery"] == "delivered")
    assert here.webhook(job_id)["origin"] == receiver.url


def test_signature_equals_that_of_the_reference_implementation() -> None:
    """The values are from its own tests."""
    webhook = Webhook.model_validate(
        {"url": "https://example.com", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    )
    headers = signed_headers(webhook, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1_614_265_330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_receiver_in_the_documentation_accepts_only_our_signature(
    here: Deployment, receiver: Receiver
) -> None:
    code = re.search(r"```python\n(.*?def is_ours.*?)```", (ROOT / "docs/api.md").read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    is_ours = names["is_ours"]
    here.end(webhook=receiver.webhook)
    until(lambda: receiver.calls)
    call = receiver.calls[0]
    assert is_ours(SECRET, call.headers, call.body)
    assert not is_ours("whsec_" + "MDEy" * 8, call.headers, call.body)
    assert not is_ours(SECRET, call.headers, call.body + b" ")
    assert not is_ours(SECRET, {**call.headers, "webhook-id": "another"}, call.body)
    old = str(int(call.headers["webhook-timestamp"]) - 600)
    assert not is_ours(SECRET, {**call.headers, "webhook-timestamp": old}, call.body)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("answers", [[500], [500, 404, 302, 429], [301]])
def test_failed_delivery_is_retried_as_the_same_message(
    here: Deployment, receiver: Receiver, answers: list[int]
) -> None:
    receiver.answers = list(answers)
    job_id = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(job_id)["delivery"] == "delivered")
    assert receiver.ids == [receiver.ids[0]] * (len(answers) + 1)
    assert {call.path for call in receiver.calls} == {receiver.calls[0].path}
    assert len({call.body for call in receiver.calls}) == 1
    assert here.webhook(job_id)["problem"] is None


@pytest.mark.usefixtures("hurried")
def test_receiver_that_was_down_gets_the_message_when_it_is_up(here: Deployment) -> None:
    port = free_port()
    job_id = here.end(webhook=Receiver(url=f"http://127.0.0.1:{port}").webhook)
    until(lambda: here.webhook(job_id)["problem"])
    assert here.webhook(job_id)["delivery"] == "pending"
    assert "could not be reached" in here.webhook(job_id)["problem"]
    with receiving(port) as late:
        until(lambda: late.calls)


@pytest.mark.usefixtures("hurried")
def test_receiver_that_answers_410_gets_no_retry(here: Deployment, receiver: Receiver) -> None:
    receiver.answers = [410]
    job_id = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(job_id)["delivery"] == "gone")
    assert here.worker.redis.zscore(KEY.deliveries, f"{job_id}:own") is None
    assert len(receiver.calls) == 1


@pytest.mark.usefixtures("unhurried")
def test_delivery_is_given_up_after_a_day_with_an_error_in_the_log(
    here: Deployment, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [500] * 9
    job_id = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(job_id)["problem"] == "It answered 500.")
    before = time.time()
    here.age(job_id, DAY - 600)
    until(lambda: len(receiver.calls) == 2)
    until(lambda: due_ms(here, job_id) > (before + 590) * 1000)  # at the end of the day
    assert here.webhook(job_id)["delivery"] == "pending"
    here.age(job_id, DAY + 60)
    until(lambda: here.webhook(job_id)["delivery"] == "given_up")
    assert len(receiver.calls) == 3
    assert here.worker.redis.zscore(KEY.deliveries, f"{job_id}:own") is None
    (error,) = [entry for entry in caplog.records if entry.levelno == logging.ERROR]
    assert job_id in error.getMessage()
    assert "500" in error.getMessage()


def test_retry_after_of_a_receiver_is_honoured(here: Deployment, receiver: Receiver) -> None:
    receiver.answers, receiver.retry_after = [503], "4000"
    before = time.time()
    job_id = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(job_id)["problem"] == "It answered 503.")
    assert due_ms(here, job_id) > (before + 3_900) * 1000


def due_ms(deployment: Deployment, job_id: str) -> float:
    """When its delivery is attempted next, unless the attempt under way settles it."""
    return float(deployment.worker.redis.zscore(KEY.deliveries, f"{job_id}:own") or 0)


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (503, "120", 120),
        (429, "Thu, 01 Jan 1970 00:16:50 GMT", 10),
        (429, "Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (500, "120", 0),
        (503, None, 0),
        (503, "-5", 0),
        (503, "soon", 0),
        (503, "²", 0),
        (503, "9" * 5000, 999_999_999),
    ],
)
def test_retry_after_is_parsed(status: int, retry_after: str | None, seconds: float) -> None:
    assert Reply(status, retry_after).pause_seconds(now=1000.0) == seconds


def test_retry_after_is_limited_to_a_day_after_the_end() -> None:
    assert pause_seconds(10, 0, asked_seconds=600) == 600
    assert pause_seconds(10, 0, asked_seconds=1) == SCHEDULE_SECONDS[1] - 10
    assert pause_seconds(10, 0, asked_seconds=10**9) == DAY - 10


def test_retry_delays_grow_and_end_at_a_day() -> None:
    moments = [0.0]
    while (pause := pause_seconds(moments[-1], 0.5)) is not None:
        moments.append(moments[-1] + pause)
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert len(moments) == len(SCHEDULE_SECONDS) + 1
    assert pauses[:-1] == sorted(pauses[:-1])
    assert moments[1] == pytest.approx(5 * (1 + JITTER / 2))
    assert moments[-1] == DAY
    assert pause_seconds(DAY, 0) is None


def test_receiver_of_the_deployment_gets_messages_about_every_job(
    elsewhere: Elsewhere, receiver: Receiver
) -> None:
    """It needs no DCGAN_WEBHOOK_ALLOW_PRIVATE, because the operator configured it."""
    with receiving() as own:
        there = elsewhere(
            webhook_allow_private=False,
            webhook_url=f"{receiver.url}/all",
            webhook_secret=GLOBAL_SECRET,
        )
        plain = there.end(State.SUCCEEDED)
        until(lambda: receiver.calls)
        there.stop()
        there = elsewhere(webhook_url=f"{receiver.url}/all", webhook_secret=GLOBAL_SECRET)
        both = there.end(webhook=own.webhook)
        until(lambda: len(receiver.calls) == 2)
        until(lambda: own.calls)
    assert receiver.ids == [f"{plain}-succeeded-global", f"{both}-cancelled-global"]
    assert own.ids == [f"{both}-cancelled-own"]
    until(lambda: there.worker.volume.told(both, Endpoint.GLOBAL).exists())
    call = receiver.calls[0]
    webhook = Webhook.model_validate({"url": receiver.url, "secret": GLOBAL_SECRET})
    seconds = int(call.headers["webhook-timestamp"])
    signed = signed_headers(webhook, call.id, call.body, seconds)["webhook-signature"]
    assert call.headers["webhook-signature"] == signed
    assert there.client.get(f"/jobs/{plain}").json()["webhook"] is None


@pytest.mark.usefixtures("unhurried")
def test_private_receiver_of_a_client_is_not_called_by_default(
    elsewhere: Elsewhere, receiver: Receiver
) -> None:
    there = elsewhere()
    receiver.open.clear()
    receiver.answers = [500]
    job_id = there.end(webhook=receiver.webhook)  # while it was allowed
    until(lambda: receiver.calls)
    receiver.open.set()
    until(lambda: there.webhook(job_id)["problem"])
    there.stop()
    there = elsewhere(webhook_allow_private=False)
    there.age(job_id, 60)
    until(lambda: "not public" in there.webhook(job_id)["problem"])
    assert len(receiver.calls) == 1


def test_deleted_job_is_not_delivered_again_and_leaves_nothing_behind(
    here: Deployment, receiver: Receiver
) -> None:
    receiver.open.clear()
    job_id = here.end(webhook=receiver.webhook)
    until(lambda: receiver.calls)
    assert here.client.delete(f"/jobs/{job_id}").status_code == 204
    receiver.open.set()
    next_one = here.end(webhook=receiver.webhook)
    until(lambda: here.webhook(next_one)["delivery"] == "delivered")
    assert receiver.ids == [f"{job}-cancelled-own" for job in (job_id, next_one)]
    assert not here.worker.volume.job(job_id).exists()
