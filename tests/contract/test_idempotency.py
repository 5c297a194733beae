"""A request that is sent repeatedly creates one record, even after Redis was emptied."""

from contract.control import control
from contract.forgetting import forget_job
from contract.job import State, Want
from contract.keys import EPOCH, KEYS
from contract.rebuilding import leave_out, restore
from contract.submission import Idempotency, Submission
from contract.submitting import RememberedRequest, read_request, submit
from tests.contract.records import JOB, SHORT, Records

SENT = Idempotency.of("key-1", {"dataset": "ds_a"})
SUBMISSION = Submission(idempotency=SENT)
FIELDS = {
    "id": "job_a", "spec": "{}", "state": "queued", "want": "run", "token": "0", "attempt": "0",
    "deaths": "0", "devices": "1", "revision": "1", "created_us": "5",
}  # fmt: skip


def _send(records: Records, record_id: str) -> tuple[str, str]:
    records.redis.set(EPOCH, "1")
    return records.run(submit(JOB, record_id, "{}", submission=SUBMISSION))


def test_key_creates_only_one_record(records: Records) -> None:
    assert SENT is not None
    assert _send(records, "job_a")[0] == "submitted"
    outcome, made = _send(records, "job_b")
    assert (outcome, read_request(made)) == ("known", RememberedRequest("job_a", SENT.fingerprint))
    assert records.redis.zrange(KEYS[JOB].all, 0, -1) == ["job_a"]


def test_submission_with_a_key_is_refused_while_records_are_rebuilt(records: Records) -> None:
    records.redis.delete(EPOCH)
    assert records.run(submit(JOB, "job_a", "{}", submission=SUBMISSION)) == ("rebuilding", "")
    assert records.redis.keys() == []


def test_rebuilding_a_record_restores_its_key(records: Records) -> None:
    _send(records, "job_a")
    records.redis.flushall()
    assert records.run(restore(JOB, "job_a", FIELDS, [], SHORT, SUBMISSION)) == "restored"
    assert _send(records, "job_b")[0] == "known"


def test_key_of_a_record_that_is_left_out_is_kept_until_a_day_after_the_last_try(records: Records) -> None:
    key = KEYS[JOB].request_of + "key-1"
    for _ in range(2):
        records.run(leave_out("job_a", SUBMISSION))
        assert 86000 < records.redis.ttl(key) <= 86400
        records.redis.expire(key, 60)
    assert _send(records, "job_b")[0] == "known"
    records.run(restore(JOB, "job_a", FIELDS, [], SHORT, SUBMISSION))
    assert records.redis.ttl(key) == -1


def test_key_outlives_its_record_by_a_day(records: Records) -> None:
    _send(records, "job_a")
    assert records.redis.ttl(KEYS[JOB].request_of + "key-1") == -1
    records.run(control(JOB, "job_a", Want.CANCEL))
    assert records.read().state is State.CANCELLED
    records.run(forget_job("job_a"))
    assert 0 < records.redis.ttl(KEYS[JOB].request_of + "key-1") <= 86400
    assert _send(records, "job_b")[0] == "known"


def test_fingerprint_depends_on_the_body_but_not_on_field_order() -> None:
    assert Idempotency.of("k", {"a": 1, "b": 2}) == Idempotency.of("k", {"b": 2, "a": 1})
    assert Idempotency.of("k", {"a": 1}) != Idempotency.of("k", {"a": 2})
    assert Idempotency.of(None, {"a": 1}) is None
