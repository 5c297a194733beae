"""Webhook deliveries in the real script: which ends are delivered, to whom, when, and by which gateway."""

import pytest

from contract import owning, reaping, submitting
from contract.control import control
from contract.deliveries import Bounds, Delivery, settle_delivery, take_deliveries
from contract.forgetting import forget_job
from contract.job import State, Want
from contract.keys import JOB_KEYS, RecordKind
from contract.rebuilding import restore
from contract.submission import ANYONE, Submission
from contract.webhook import DeliveryOutcome, Endpoint, Notification, Webhook
from tests.contract.records import JOB, LONG, SHORT, STEP_MS, Records

SECRET = "whsec_" + "MDEy" * 8
DELIVERIES, SINCE = JOB_KEYS.deliveries, JOB_KEYS.deliveries_since
DELIVERED = Notification(outcome=DeliveryOutcome.DELIVERED, at_ms=5)


def submission(url: str = "https://example.com/hook", submitter: str = ANYONE) -> Submission:
    return Submission(submitter=submitter, webhook=Webhook.model_validate({"url": url, "secret": SECRET}))


def submit(records: Records, record_id: str = "job_a", *who: str) -> None:
    """Submit a job with a webhook; `who` is its URL and its submitter."""
    records.run(submitting.submit(JOB, record_id, "{}", submission=submission(*who)))


def cancel(records: Records, record_id: str = "job_a") -> None:
    records.run(control(JOB, record_id, Want.CANCEL))


def take(records: Records, seconds: float = LONG, *under_way: Delivery) -> list[Delivery]:
    most = Bounds(own=6, receiver=2, submitter=3)
    return records.run(take_deliveries(most, lease_seconds=seconds, under_way=under_way))


def names(deliveries: list[Delivery]) -> list[str]:
    return sorted(f"{delivery.job_id}:{delivery.endpoint}" for delivery in deliveries)


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled", "poisoned", "reaped"])
def test_every_end_of_a_job_is_delivered_to_both_endpoints(records: Records, end: str) -> None:
    submit(records)
    assert take(records) == []
    if end == "cancelled":
        cancel(records)
    else:
        lease = records.claim(seconds=SHORT if end == "reaped" else LONG)
        assert take(records) == []
        if end == "poisoned":
            records.run(reaping.died(lease, "x", 1))
        elif end == "reaped":
            cancel(records)
            records.reap_expired()
        else:
            records.run(owning.leave(lease, State(end)))
    assert names(take(records)) == ["job_a:global", "job_a:own"]


def test_requeue_and_pause_are_not_delivered(records: Records) -> None:
    submit(records)
    records.run(owning.leave(records.claim(), State.QUEUED))
    records.run(control(JOB, "job_a", Want.PAUSE))
    assert records.redis.zcard(DELIVERIES) == 0


def test_job_without_a_webhook_is_delivered_only_to_the_deployments_endpoint(records: Records) -> None:
    records.submit()
    cancel(records)
    assert names(take(records)) == ["job_a:global"]


def test_end_of_a_dataset_preparation_is_not_delivered(records: Records) -> None:
    records.run(submitting.submit(RecordKind.DATASET, "ds_a", "{}"))
    records.run(control(RecordKind.DATASET, "ds_a", Want.CANCEL))
    assert records.redis.zcard(DELIVERIES) == 0


def test_delivery_is_taken_once_and_again_after_its_lease_expired(records: Records) -> None:
    submit(records)
    cancel(records)
    first = take(records, SHORT)
    assert len(first) == 2
    while not (again := take(records)):
        pass
    assert names(again) == names(first)
    assert take(records) == []


def test_settled_delivery_is_not_taken_again(records: Records) -> None:
    submit(records)
    cancel(records)
    for delivery in take(records):
        assert records.run(settle_delivery(delivery, DELIVERED))
    assert not records.redis.exists(DELIVERIES, SINCE)
    assert records.read().told == DELIVERED


def test_failed_delivery_is_due_again_after_its_retry_delay(records: Records) -> None:
    submit(records)
    cancel(records)
    failed = Notification(outcome=None, problem="It answered 500.", at_ms=5)
    for delivery in take(records):
        records.run(settle_delivery(delivery, failed, retry_seconds=0.001))
    while not (again := take(records)):
        pass
    assert again[0].age_seconds > 0
    assert records.read().told == failed


@pytest.mark.parametrize("state", ["queued", "leased", "retried"])
def test_delivery_is_due_in_time_after_the_clock_was_set_back(records: Records, state: str) -> None:
    records.submit()
    cancel(records)
    if state != "queued":
        (delivery,) = take(records, SHORT)
        if state == "retried":
            records.run(settle_delivery(delivery, None, retry_seconds=SHORT))
    records.set_clock_back(DELIVERIES, SINCE)
    while not (due := take(records)):
        pass
    assert names(due) == ["job_a:global"]


def test_age_of_a_delivery_begins_at_nought_again_after_the_clock_was_set_back(records: Records) -> None:
    records.submit()
    cancel(records)
    ended_ms = records.redis.hincrby(JOB_KEYS.record_of + "job_a", "finished_ms", STEP_MS)
    (first,) = take(records)
    assert first.age_seconds == 0
    records.run(settle_delivery(first, None, retry_seconds=0.001))
    while not (again := take(records)):
        pass
    assert 0 < again[0].age_seconds < LONG
    assert records.read().finished_ms == ended_ms


def test_age_of_a_delivery_is_the_true_one_once_a_clock_that_was_behind_is_right(records: Records) -> None:
    records.submit()
    cancel(records)
    records.redis.hset(JOB_KEYS.record_of + "job_a", "telling_since_ms", 1)  # by a clock of 1970
    (due,) = take(records)
    assert due.age_seconds < LONG


def test_delivery_that_an_older_gateway_has_settled_is_forgotten_once_the_clock_was_set_back(
    records: Records,
) -> None:
    records.submit()
    cancel(records)
    records.redis.delete(DELIVERIES)
    records.set_clock_back(SINCE)
    assert take(records) == []
    assert not records.redis.exists(SINCE)


def test_settling_after_the_lease_expired_changes_nothing(records: Records) -> None:
    submit(records)
    cancel(records)
    late = take(records, SHORT)
    while not take(records):
        pass
    before = records.redis.zrange(DELIVERIES, 0, -1, withscores=True)
    assert not any(records.run(settle_delivery(delivery, DELIVERED)) for delivery in late)
    assert not any(records.run(settle_delivery(delivery, None, retry_seconds=0)) for delivery in late)
    assert records.redis.zrange(DELIVERIES, 0, -1, withscores=True) == before
    assert records.read().told is None


def test_concurrent_deliveries_to_a_receiver_are_limited(records: Records) -> None:
    for number in range(4):
        submit(records, f"job_{number}", "https://slow.example/hook")
        cancel(records, f"job_{number}")
    submit(records, "job_z", "https://other.example/hook")
    cancel(records, "job_z")
    slow = Delivery("job_x", Endpoint.OWN, "https://slow.example", "ann", "", 0)
    ours = Delivery("job_x", Endpoint.GLOBAL, "global", "ann", "", 0)
    assert names(take(records, LONG, slow, ours, ours)) == ["job_0:own", "job_z:own"]


def test_submitter_with_many_receivers_is_limited_to_one_submitters_share(records: Records) -> None:
    for number in range(5):
        submit(records, f"job_{number}", f"https://a{number}.example/hook", "ann")
        cancel(records, f"job_{number}")
    submit(records, "job_z", "https://other.example/hook", "bob")
    cancel(records, "job_z")
    taken = take(records)
    assert names(taken) == [
        "job_0:global",
        "job_0:own",
        "job_1:global",
        "job_1:own",
        "job_2:own",
        "job_z:own",
    ]
    assert take(records, LONG, *taken) == []


def test_deployments_endpoint_is_served_when_own_endpoints_are_at_their_limit(records: Records) -> None:
    submit(records)
    cancel(records)
    others = [Delivery("job_x", Endpoint.OWN, f"https://{n}.example", f"{n}", "", 0) for n in range(6)]
    assert names(take(records, LONG, *others)) == ["job_a:global"]


def test_deliveries_of_a_forgotten_job_are_dropped(records: Records) -> None:
    submit(records)
    cancel(records)
    records.run(forget_job("job_a"))
    assert not records.redis.exists(DELIVERIES, SINCE)


@pytest.mark.parametrize("untold", [[], [Endpoint.OWN], list(Endpoint)])
def test_rebuilt_job_is_delivered_only_to_endpoints_not_yet_notified(
    records: Records, untold: list[Endpoint]
) -> None:
    fields = {
        "id": "job_a", "spec": "{}", "state": "failed", "want": "run", "token": "0", "attempt": "0",
        "deaths": "0", "devices": "1", "revision": "1", "created_us": "5", "finished_ms": "6",
    }  # fmt: skip
    records.run(restore(JOB, "job_a", fields, [], SHORT, submission(), untold))
    assert names(take(records)) == sorted(f"job_a:{endpoint}" for endpoint in untold)


def test_redis_never_holds_the_secret_or_the_full_url(records: Records) -> None:
    submit(records)
    cancel(records)
    for key in records.redis.scan_iter():
        held = str(_content(records, key))
        assert SECRET not in held
        assert "/hook" not in held


def _content(records: Records, key: str) -> object:
    kind = records.redis.type(key)
    if kind == "hash":
        return records.redis.hgetall(key)
    if kind == "stream":
        return records.redis.xrange(key)
    if kind == "zset":
        return records.redis.zrange(key, 0, -1)
    return records.redis.smembers(key) if kind == "set" else records.redis.get(key)
