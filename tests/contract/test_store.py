"""The rules for records, tested against the real script in a real Redis."""

import json
from typing import Any

import pytest

from contract import keys, owning, reaping
from contract.command import Command
from contract.control import control
from contract.events import EventType, mirrored
from contract.forgetting import forget_dataset, forget_job
from contract.job import CheckpointFact, Failure, Progress, SnapshotFact, State, Want
from contract.keys import KEYS, WORKER_FACTS, WORKERS, WORKERS_SINCE, RecordKind
from contract.owning import Lease, Verdict
from contract.rebuilding import restore
from contract.submitting import submit, withdraw
from contract.workers import goodbye, hello, workers
from tests.contract.records import JOB, LONG, SHORT, Records


def test_withdrawn_record_is_not_queued_by_a_late_submission(records: Records) -> None:
    assert records.run(withdraw(JOB, "job_a"))
    assert records.run(submit(JOB, "job_a", "{}")) == ("withdrawn", "")
    assert not records.redis.exists(KEYS[JOB].record_of + "job_a")


def test_queued_record_cannot_be_withdrawn(records: Records) -> None:
    records.submit()
    assert not records.run(withdraw(JOB, "job_a"))
    assert records.claim().id == "job_a"


def test_submission_of_another_cannot_be_withdrawn_while_it_may_be_restored(records: Records) -> None:
    withdrawn = withdraw(JOB, "job_a", by_submitter=False)
    records.redis.delete(keys.EPOCH)
    assert not records.run(withdrawn)
    records.redis.set(keys.EPOCH, "1")
    records.redis.sadd(keys.LEFT_OUT, "job_a")
    assert not records.run(withdrawn)
    records.redis.srem(keys.LEFT_OUT, "job_a")
    records.submit()
    assert not records.run(withdrawn)
    assert records.run(withdraw(JOB, "job_b", by_submitter=False))
    assert records.run(submit(JOB, "job_b", "{}")) == ("withdrawn", "")


def test_submitting_twice_makes_one_record(records: Records) -> None:
    records.submit()
    assert records.run(submit(JOB, "job_a", '{"other": 1}'))[0] == "exists"
    assert records.read().spec == "{}"
    assert records.redis.zcard(KEYS[JOB].queued) == 1


def test_claims_are_first_come_first_served_among_records_that_fit(records: Records) -> None:
    records.submit("job_big", devices=4)
    records.submit("job_a")
    records.submit("job_b")
    assert [records.claim("w0").id, records.claim("w1").id] == ["job_a", "job_b"]
    assert records.run(owning.claim(JOB, "w2", lease_seconds=LONG)) is None
    assert records.claim("w2", devices=4).id == "job_big"


def test_requeued_record_keeps_its_place_in_the_queue(records: Records) -> None:
    records.submit("job_a")
    records.submit("job_b")
    records.run(owning.leave(records.claim(), State.QUEUED))
    assert records.claim().id == "job_a"


def test_tokens_only_grow(records: Records) -> None:
    records.submit()
    tokens = []
    for _ in range(5):
        lease = records.claim()
        tokens.append(int(lease.token))
        records.run(owning.leave(lease, State.QUEUED))
    assert tokens == sorted(set(tokens))


def _owner_acts(lease: Lease) -> list[Command[Any]]:
    return [
        owning.beat(lease, Progress(done=1, total=2)),
        owning.report(lease, 1, fields={"snapshot": "{}"}),
        owning.report(lease, 1, event=(EventType.WARNING, {"code": "x"})),
        owning.leave(lease, State.SUCCEEDED),
        reaping.died(lease, "x", 3),
    ]


@pytest.mark.parametrize("act", range(5))
def test_owner_with_a_stale_token_changes_nothing(records: Records, act: int) -> None:
    records.submit()
    old = records.claim("w0", SHORT)
    records.reap_expired()
    records.claim("w1")
    before = records.redis.hgetall(KEYS[JOB].record_of + "job_a")
    assert records.run(_owner_acts(old)[act]) == Verdict.LOST
    assert records.redis.hgetall(KEYS[JOB].record_of + "job_a") == before


def test_lease_is_shortened_to_its_length_after_the_clock_was_set_back(records: Records) -> None:
    records.submit("job_a")
    records.submit("job_b")
    records.claim("w0", SHORT)
    records.claim("w1", LONG)
    kept = records.read("job_b").lease_until_ms
    assert kept
    ahead_ms = kept + 3_600_000
    records.redis.zadd(KEYS[JOB].leased, {"job_a": ahead_ms})
    records.redis.hset(KEYS[JOB].record_of + "job_a", "lease_until_ms", ahead_ms)
    assert records.run(reaping.reap(JOB, max_deaths=3)) == []
    assert records.redis.zscore(KEYS[JOB].leased, "job_a") < kept
    assert records.read("job_b").lease_until_ms == kept
    assert records.reap_expired() == ["job_a"]


def test_event_ids_are_the_revisions_without_a_gap(records: Records) -> None:
    records.submit()
    lease = records.claim()
    records.run(owning.beat(lease, Progress(done=1, total=2)))
    records.run(owning.beat(lease))
    records.run(owning.report(lease, 1, event=(EventType.PREVIEW, {"images_seen": 1})))
    records.run(owning.leave(lease, State.FAILED, error=Failure(code="x", detail="y")))
    entries = records.redis.xrange(KEYS[JOB].events_of + "job_a")
    assert [entry_id for entry_id, _ in entries] == [f"{n}-0" for n in range(1, 6)]
    assert [fields["type"] for _, fields in entries] == ["state", "state", "progress", "preview", "state"]
    assert records.read().revision == 5


def test_every_event_is_published_on_the_one_channel(records: Records) -> None:
    listener = records.redis.pubsub()
    listener.subscribe(keys.CHANGES)
    listener.get_message(timeout=60)
    records.submit()
    message = listener.get_message(timeout=60)
    assert message is not None
    assert message["data"] == KEYS[JOB].record_of + "job_a:1"


def test_expired_lease_is_reaped_and_its_record_requeued(records: Records) -> None:
    records.submit()
    records.run(owning.beat(records.claim(seconds=SHORT)))
    assert records.reap_expired() == ["job_a"]
    assert (records.read().state, records.read().deaths) == (State.QUEUED, 1)


@pytest.mark.parametrize("owner", [None, "w0"])
def test_claims_whose_replies_were_lost_are_no_deaths(records: Records, owner: str | None) -> None:
    records.submit()
    for _ in range(3):
        records.claim("w0", seconds=-1)
        (burial,) = records.run(reaping.reap(JOB, max_deaths=1, owner=owner))
        assert burial.state is State.QUEUED
    assert (records.read().attempt, records.read().deaths) == (3, 0)


@pytest.mark.parametrize("act", [0, 2])
def test_owner_that_was_heard_dies_when_its_lease_expires(records: Records, act: int) -> None:
    records.submit()
    lease = records.claim(seconds=SHORT)
    assert records.run(_owner_acts(lease)[act]) in (Verdict.ACCEPTED, Want.RUN)
    records.reap_expired()
    assert records.read().deaths == 1


def test_valid_lease_is_not_reaped(records: Records) -> None:
    records.submit()
    records.claim()
    assert records.run(reaping.reap(JOB, max_deaths=3)) == []


def test_restarted_slot_releases_only_what_it_owned(records: Records) -> None:
    records.submit("job_a")
    records.submit("job_b")
    lease = records.claim("w0")
    records.claim("w1")
    (burial,) = records.run(reaping.reap(JOB, max_deaths=3, owner="w0"))
    assert burial[:5] == ("job_a", State.QUEUED, None, int(lease.token) + 1, 1)
    assert records.read("job_b").state == State.RUNNING


def test_record_that_kills_its_owners_without_progress_fails(records: Records) -> None:
    records.submit()
    for _ in range(3):
        records.run(reaping.died(records.claim(), "killed by signal 9", 3))
    failed = records.read()
    assert failed.state == State.FAILED
    assert failed.error is not None
    assert failed.error.code == "died_repeatedly"


def test_saved_progress_resets_the_death_count(records: Records) -> None:
    records.submit()
    for _ in range(5):
        lease = records.claim()
        snapshot = SnapshotFact(file="f", images_seen=1).model_dump_json()
        records.run(owning.report(lease, 1, fields={"snapshot": snapshot, "deaths": "0"}))
        records.run(reaping.died(lease, "x", 3))
    assert records.read().state == State.QUEUED


def test_claim_whose_reply_was_lost_is_granted_again_and_takes_nothing_else(records: Records) -> None:
    records.submit("job_a")
    records.submit("job_b")
    unheard = records.claim("w0")
    again = records.claim("w0")
    assert again.id == unheard.id == "job_a"
    assert records.run(owning.beat(unheard)) == Verdict.LOST
    assert records.read("job_a").attempt == 1
    assert records.read("job_b").state == State.QUEUED


def test_repeated_report_counts_once(records: Records) -> None:
    records.submit()
    lease = records.claim()
    command = owning.report(lease, 1, checkpoint=_checkpoint("d"), event=(EventType.CHECKPOINT, {}))
    assert [records.run(command), records.run(command)] == [Verdict.ACCEPTED] * 2
    assert records.redis.llen(KEYS[JOB].checkpoints_of + "job_a") == 1
    assert records.read().revision == 3


def test_checkpoint_reported_again_by_the_next_owner_counts_once(records: Records) -> None:
    records.submit()
    for _ in range(2):
        lease = records.claim()
        records.run(owning.report(lease, 1, checkpoint=_checkpoint("d")))
        records.run(owning.leave(lease, State.QUEUED))
    assert records.redis.llen(KEYS[JOB].checkpoints_of + "job_a") == 1


@pytest.mark.parametrize("act", range(5))
def test_owner_is_told_that_its_record_is_unknown_after_redis_was_emptied(records: Records, act: int) -> None:
    records.submit()
    lease = records.claim()
    records.redis.flushall()
    assert records.run(_owner_acts(lease)[act]) == Verdict.UNKNOWN
    assert records.redis.keys() == []


def test_job_needs_a_prepared_dataset_which_cannot_be_forgotten_until_it_ends(records: Records) -> None:
    assert records.run(submit(JOB, "job_a", "{}", dataset="ds_a")) == ("unusable", "missing")
    records.run(submit(RecordKind.DATASET, "ds_a", "{}"))
    assert records.run(submit(JOB, "job_a", "{}", dataset="ds_a")) == ("unusable", "queued")
    claim = records.run(owning.claim(RecordKind.DATASET, "w0", lease_seconds=LONG))
    assert claim is not None
    records.run(owning.leave(Lease(RecordKind.DATASET, "ds_a", claim.token, LONG), State.SUCCEEDED))
    assert records.run(submit(JOB, "job_a", "{}", dataset="ds_a"))[0] == "submitted"
    assert records.run(forget_dataset("ds_a")) == ("used", "job_a")
    records.run(control(JOB, "job_a", Want.CANCEL))
    assert records.run(forget_dataset("ds_a"))[0] == "forgotten"


def _checkpoint(digest: str) -> CheckpointFact:
    return CheckpointFact(file="f.safetensors", digest=digest, images_seen=64, bytes=1)


def test_forgotten_job_leaves_no_key_behind(records: Records) -> None:
    records.submit()
    lease = records.claim()
    records.run(
        owning.report(
            lease, 1, fields={"checkpoint": _checkpoint("d").model_dump_json()}, checkpoint=_checkpoint("d")
        )
    )
    assert records.run(forget_job("job_a")) == ("live", "running")
    records.run(owning.leave(lease, State.SUCCEEDED))
    assert records.redis.zrange(KEYS[JOB].servable, 0, -1) == ["job_a"]
    assert records.run(forget_job("job_a"))[0] == "forgotten"
    assert sorted(records.redis.keys()) == [keys.EPOCH, KEYS[JOB].served, KEYS[JOB].turns]


def test_nothing_is_forgotten_while_the_records_are_rebuilt(records: Records) -> None:
    records.submit()
    records.run(control(JOB, "job_a", Want.CANCEL))
    records.redis.delete(keys.EPOCH)
    assert records.run(forget_job("job_a"))[0] == "rebuilding"
    assert records.read().state is State.CANCELLED


def test_job_that_an_alias_points_to_is_not_forgotten(records: Records) -> None:
    records.submit()
    records.run(owning.leave(records.claim(), State.SUCCEEDED))
    records.redis.hset(keys.ALIASES, "shoes", json.dumps({"job": "job_a"}))
    assert records.run(forget_job("job_a")) == ("aliased", "shoes")


def test_restored_record_is_claimed_under_a_newer_token(records: Records) -> None:
    fields = {
        "id": "job_a", "spec": "{}", "state": "running", "want": "run", "token": "9007199254740000",
        "attempt": "2", "deaths": "0", "devices": "1", "revision": "41", "created_us": "5", "owner": "gone",
    }  # fmt: skip
    command = restore(JOB, "job_a", fields, [_checkpoint("d")], SHORT)
    assert [records.run(command), records.run(command)] == ["restored", "exists"]
    assert records.read().revision == 42
    records.reap_expired()
    assert int(records.claim().token) > 9007199254740000


def test_withdrawn_submission_that_a_rebuild_has_read_is_not_restored(records: Records) -> None:
    records.run(withdraw(JOB, "job_a"))
    command = restore(JOB, "job_a", {"state": "queued", "created_us": "5"}, [], SHORT, was_queued=False)
    assert records.run(command) == "withdrawn"
    assert not records.redis.exists(KEYS[JOB].record_of + "job_a")


def test_renderer_stays_active_until_no_sampler_has_it(records: Records) -> None:
    def announce(name: str, renderer: str, seconds: float = LONG) -> str | None:
        return records.run(hello(name, {"role": "sample", "renderer": renderer}, seconds))

    assert announce("s0", "avx512") == "avx512"
    assert announce("s1", "avx2") == "avx512"
    assert announce("s0", "avx512") == "avx512"
    records.run(goodbye("s0"))
    assert announce("s1", "avx2") == "avx2"
    assert announce("s0", "avx512") == "avx2"


def test_worker_that_died_hours_ago_leaves_nothing_behind(records: Records) -> None:
    records.run(hello("old", {"role": "train"}, -3601))
    records.run(hello("new", {"role": "train"}, LONG))
    assert records.redis.hkeys(WORKER_FACTS) == ["new"]


def test_dead_worker_is_gone_after_its_time_though_the_clock_was_set_back(records: Records) -> None:
    records.run(hello("dead", {"role": "sample"}, SHORT))
    records.set_clock_back(WORKERS, WORKERS_SINCE)
    while records.run(workers()) != [{"role": "train"}]:
        records.run(hello("alive", {"role": "train"}, LONG))
    records.run(goodbye("dead"))
    records.run(goodbye("alive"))
    assert not records.redis.exists(WORKERS, WORKERS_SINCE, WORKER_FACTS)


def test_trimmed_stream_keeps_the_newest_events(records: Records) -> None:
    records.submit()
    lease = records.claim()
    for done in range(8):
        records.run(owning.beat(lease, Progress(done=done, total=8)))
    records.run(mirrored(JOB, "job_a", 10, keep=3))
    entries = records.redis.xrange(KEYS[JOB].events_of + "job_a")
    assert [entry_id for entry_id, _ in entries] == ["7-0", "8-0", "9-0", "10-0"]
    assert records.redis.scard(KEYS[JOB].unmirrored) == 0
