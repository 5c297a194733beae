"""After Redis was emptied, the records are rebuilt from the volume, whatever else lies on it."""

import errno
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import redis

from contract import keys, owning
from contract.deliveries import Bounds, take_deliveries
from contract.durable import write_json
from contract.events import Event, EventType
from contract.forgetting import forget_job
from contract.job import CheckpointFact, Failure, Progress, State, Want
from contract.keys import KEYS, RecordKind
from contract.owning import Lease
from contract.submission import Idempotency, Priority, Submission
from contract.submitting import submit
from contract.turns import turns
from contract.volume import Volume
from contract.webhook import TOLD_FOR_SECONDS, DeliveryOutcome, Endpoint, Notification, Webhook
from tests.contract.records import Records
from worker.facts import Facts, write_facts
from worker.rebuild import Rebuilder
from worker.store import Store

JOB = RecordKind.JOB
SPEC = json.dumps({"dataset": "ds_0123456789abcdef"})


def lay(volume: Volume, name: str, facts: Facts | None = None, want: Want | None = None) -> str:
    """Create a job's directory as the gateway and an owner leave it."""
    job = f"job_{name:0>16}"
    volume.job(job).mkdir(parents=True)
    volume.spec(job).write_text(SPEC)
    if facts:
        write_facts(volume, job, facts)
    if want:
        write_json(volume.intent(job), {"want": want})
    return job


def facts(state: State, **more: object) -> Facts:
    return Facts.model_validate({"state": state, "token": 7, "attempt": 1, "created_us": 5, **more})


@pytest.mark.parametrize(
    ("stated", "want", "expected"),
    [
        (None, None, "queued"),
        (None, Want.PAUSE, "paused"),
        (None, Want.CANCEL, "cancelled"),
        (State.RUNNING, None, "running"),
        (State.RUNNING, Want.CANCEL, "running"),
        (State.QUEUED, Want.PAUSE, "paused"),
        (State.PAUSED, Want.RUN, "queued"),
        (State.SUCCEEDED, Want.CANCEL, "succeeded"),
        (State.FAILED, None, "failed"),
    ],
)
def test_state_follows_from_facts_and_intent(
    store: Store, rebuilder: Rebuilder, volume: Volume, stated: State | None, want: Want | None, expected: str
) -> None:
    job = lay(volume, "a", facts(stated) if stated else None, want)
    assert rebuilder.rebuild_if_lost()
    assert store.run(forget_job(job))[1] == expected


def test_copy_of_a_directory_is_no_record(
    store: Store, rebuilder: Rebuilder, volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    job = lay(volume, "a")
    shutil.copytree(volume.job(job), copy := volume.job(f"{job} 2"))
    assert rebuilder.rebuild_if_lost()
    assert store.state(JOB, job) is State.QUEUED
    assert store.state(JOB, copy.name) is None
    assert f"{copy}: ignored" in caplog.text


def test_ended_record_keeps_its_progress(rebuilder: Rebuilder, volume: Volume, redis_url: str) -> None:
    progress = Progress(done=8, total=8, losses={"generator": 1.0})
    job = lay(volume, "a", facts(State.SUCCEEDED, progress=progress.model_copy(update={"seconds_left": 3.0})))
    assert rebuilder.rebuild_if_lost()
    assert Records(redis_url).read(job).progress == progress


def test_owner_of_a_running_record_keeps_it(store: Store, rebuilder: Rebuilder, volume: Volume) -> None:
    job = lay(volume, "a", facts(State.RUNNING), Want.CANCEL)
    assert rebuilder.rebuild_if_lost()
    assert store.run(owning.beat(Lease(JOB, job, "7", 60))) == Want.CANCEL


def test_job_on_several_devices_still_waits_for_a_trainer_that_has_them(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    job = lay(volume, "a")
    volume.spec(job).write_text(json.dumps(json.loads(SPEC) | {"devices": 2}))
    assert rebuilder.rebuild_if_lost()
    assert store.run(owning.claim(JOB, "small", lease_seconds=60)) is None
    claim = store.run(owning.claim(JOB, "large", lease_seconds=60, devices=2))
    assert claim
    assert claim.record.id == job


def test_served_generators_are_restored(rebuilder: Rebuilder, volume: Volume, redis_url: str) -> None:
    both = [CheckpointFact(file=name, digest=f"sha256:{name}", images_seen=1, bytes=1) for name in "de"]
    finished = lay(volume, "a", facts(State.SUCCEEDED, checkpoints=both[:1], finished_ms=9))
    running = lay(volume, "b", facts(State.RUNNING, checkpoints=both[1:]))
    assert rebuilder.rebuild_if_lost()
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    assert client.hgetall(keys.DIGESTS) == {"sha256:d": finished, "sha256:e": running}
    assert client.zrange(KEYS[JOB].servable, 0, -1) == [finished]


def test_checkpoint_whose_event_was_lost_is_reported_once(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    both = [CheckpointFact(file=name, digest=f"sha256:{name}", images_seen=1, bytes=1) for name in "de"]
    kept = Event(id=3, type=EventType.CHECKPOINT, at_ms=1, data=both[0].model_dump_json())
    job = lay(volume, "a", facts(State.RUNNING, checkpoints=both))
    volume.events(job).write_text(kept.model_dump_json() + "\n")
    assert rebuilder.rebuild_if_lost()
    unheard = (EventType.CHECKPOINT, both[1].model_dump())
    report = owning.report(Lease(JOB, job, "7", 60), 1, checkpoint=both[1], event=unheard)
    assert store.run(report) == "accepted"
    told = [event for event in store.events_after(JOB, job, 0) if event.type == EventType.CHECKPOINT]
    assert [json.loads(event.data) for event in told] == [both[1].model_dump()]


@pytest.mark.parametrize(
    ("file", "content"), [(f"facts-{7:020d}.json", ""), ("spec.json", '{"dataset": "\\ud800"}')]
)
def test_damaged_file_affects_no_other_record(
    store: Store, rebuilder: Rebuilder, volume: Volume, file: str, content: str
) -> None:
    broken = lay(volume, "a", facts(State.RUNNING))
    (volume.job(broken) / file).write_text(content)
    sound = lay(volume, "b", facts(State.FAILED, error=Failure(code="x", detail="y")))
    assert rebuilder.rebuild_if_lost()
    assert store.left_out() == [broken]
    assert store.run(forget_job(sound)) == ("forgotten", "failed")


def test_unreadable_record_is_restored_once_it_can_be_read(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    job = lay(volume, "a", facts(State.RUNNING))
    whole = volume.facts(job, 7).read_bytes()
    volume.facts(job, 7).write_bytes(whole[:9])
    assert rebuilder.rebuild_if_lost()
    rebuilder.restore_left_out()
    beat = owning.beat(Lease(JOB, job, "7", 60))
    assert store.run(beat) == "unknown"
    assert store.left_out() == [job]
    volume.facts(job, 7).write_bytes(whole)  # as its owner, which is still alive, does
    rebuilder.restore_left_out()
    assert store.run(beat) == Want.RUN
    assert store.left_out() == []


def test_unreadable_record_that_was_removed_is_forgotten(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    job = lay(volume, "a")
    volume.spec(job).write_text("{")
    assert rebuilder.rebuild_if_lost()
    assert store.left_out() == [job]
    shutil.rmtree(volume.job(job))
    rebuilder.restore_left_out()
    assert store.left_out() == []


@pytest.mark.parametrize(
    ("log", "is_numbered_by_the_clock"),
    [
        (b"\0" * 99 + b"\n", True),
        (b"\0" * 3_000_000, True),
        (b'{"id": 3, "type": "state"}\n' + b"\0" * 99 + b"\n", False),
        (b'{"id": 1, "ty', False),
    ],
    ids=["a line", "no line", "the last line", "torn off"],
)
def test_event_ids_are_never_reused_after_a_log_was_corrupted(
    store: Store, rebuilder: Rebuilder, volume: Volume, log: bytes, is_numbered_by_the_clock: bool
) -> None:
    job = lay(volume, "a", facts(State.RUNNING))
    volume.events(job).write_bytes(log)
    before_ms = time.time() * 1000
    assert rebuilder.rebuild_if_lost()
    [event] = store.events_after(JOB, job, 0)
    assert event.id > 1000
    assert (event.id > before_ms) == is_numbered_by_the_clock


def test_retried_request_is_one_job_even_if_a_gateway_was_killed_during_it(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    """The first try left files that were never queued; the client retried, and the retry was queued."""
    homes = {name: lay(volume, name) for name in ("a", "b", "c", "d")}
    for name, key, age in (("a", "k", 2), ("b", "k", 1), ("c", "l", 2), ("d", "l", 1)):
        submission = Submission(idempotency=Idempotency.of(key, {}))
        volume.submission(homes[name]).write_text(submission.model_dump_json())
        os.utime(volume.spec(homes[name]), (0, 1000 - age))
    volume.queued(homes["c"]).touch()  # the oldest, but its client got a response
    os.utime(volume.spec(homes["c"]), (0, 900))
    assert rebuilder.rebuild_if_lost()
    assert [store.state(JOB, homes[name]) for name in "abcd"] == [None, State.QUEUED, State.QUEUED, None]
    assert [volume.job(homes[name]).exists() for name in "abcd"] == [False, True, True, False]


def test_request_of_an_unreadable_job_creates_no_other_and_its_job_is_restored(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    job = lay(volume, "a", facts(State.RUNNING))
    volume.submission(job).write_text(Submission(idempotency=Idempotency.of("k", {})).model_dump_json())
    whole = volume.facts(job, 7).read_bytes()
    volume.facts(job, 7).write_bytes(whole[:9])
    assert rebuilder.rebuild_if_lost()
    repeated = submit(JOB, "job_c", SPEC, submission=Submission(idempotency=Idempotency.of("k", {})))
    assert store.run(repeated)[0] == "known"
    volume.facts(job, 7).write_bytes(whole)
    rebuilder.restore_left_out()
    assert store.state(JOB, job) == State.RUNNING


def test_job_that_was_queued_is_restored_even_if_its_key_was_reused_meanwhile(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    job = lay(volume, "a", facts(State.RUNNING))
    submission = Submission(idempotency=Idempotency.of("k", {}))
    text = submission.model_dump_json()
    volume.submission(job).write_text(text[:9])
    assert rebuilder.rebuild_if_lost()
    assert store.run(submit(JOB, "job_c", SPEC, submission=submission))[0] == "submitted"
    volume.submission(job).write_text(text)
    rebuilder.restore_left_out()
    assert store.state(JOB, job) == State.RUNNING
    assert volume.job(job).exists()


def test_any_error_in_reading_a_file_affects_only_its_record(
    store: Store, rebuilder: Rebuilder, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    null, broken, sound = (lay(volume, name) for name in "abc")
    volume.intent(null).write_text("null")
    exists = Path.exists

    def fail_for_broken(path: Path) -> bool:
        if path == volume.events(broken):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return exists(path)

    monkeypatch.setattr(Path, "exists", fail_for_broken)
    assert rebuilder.rebuild_if_lost()
    assert sorted(store.left_out()) == [null, broken]
    assert store.state(JOB, sound) == State.QUEUED


def test_deleted_record_stays_deleted_and_one_with_a_pending_tombstone_is_left_out_until_that_is_settled(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    deleted, completed, reverted = jobs = [lay(volume, one) for one in "abc"]
    volume.tombstone(deleted).touch()
    for job in (completed, reverted):
        volume.pending_tombstone(job).touch()
    assert rebuilder.rebuild_if_lost()
    rebuilder.restore_left_out()
    assert store.left_out() == [completed, reverted]
    volume.pending_tombstone(completed).rename(volume.tombstone(completed))
    volume.pending_tombstone(reverted).unlink()
    rebuilder.restore_left_out()
    assert store.left_out() == []
    assert [store.state(JOB, job) for job in jobs] == [None, None, State.QUEUED]


def test_priority_and_idempotency_key_are_restored(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    for name, priority in (("a", Priority.LOW), ("b", Priority.HIGH)):
        job = lay(volume, name)
        submission = Submission(priority=priority, idempotency=Idempotency.of(name, {}))
        volume.submission(job).write_text(submission.model_dump_json())
    assert rebuilder.rebuild_if_lost()
    assert [job[-1] for job in store.run(turns(JOB)).ids] == ["b", "a"]
    repeated = Submission(idempotency=Idempotency.of("a", {}))
    assert store.run(submit(JOB, "job_c", SPEC, submission=repeated))[0] == "known"


def deliveries(store: Store) -> list[str]:
    taken = store.run(take_deliveries(Bounds(9, 9, 9), lease_seconds=60, under_way=()))
    return sorted(f"{delivery.job_id}:{delivery.endpoint}" for delivery in taken)


def test_ends_are_reported_to_the_endpoints_that_were_not_told(
    store: Store, rebuilder: Rebuilder, volume: Volume
) -> None:
    now_ms = round(time.time() * 1000)
    webhook = Webhook.model_validate({"url": "https://example.com", "secret": "whsec_" + "QUJD" * 8})
    ends = {
        "a": facts(State.SUCCEEDED, finished_ms=now_ms - 1000),
        "b": facts(State.FAILED, finished_ms=now_ms - TOLD_FOR_SECONDS * 1000 - 1000),
        "c": facts(State.FAILED, finished_ms=now_ms),
        "d": facts(State.RUNNING),
    }
    jobs = {name: lay(volume, name, stated) for name, stated in ends.items()}
    jobs["e"] = lay(volume, "e", want=Want.CANCEL)  # its end is as old as the intent
    for job in jobs.values():
        volume.submission(job).write_text(Submission(webhook=webhook).model_dump_json())
    told = Notification(outcome=DeliveryOutcome.DELIVERED, at_ms=5)
    volume.told(jobs["a"], Endpoint.OWN).write_text(told.model_dump_json())
    volume.told(jobs["c"], Endpoint.OWN).write_text("damaged")
    assert rebuilder.rebuild_if_lost()
    assert deliveries(store) == [
        f"{jobs['a']}:global",
        f"{jobs['b']}:own",  # too old for the deployment's, which may have no webhook
        *(f"{jobs[name]}:{endpoint}" for name in "ce" for endpoint in ("global", "own")),
    ]


def test_rebuilt_records_are_not_rebuilt_again(store: Store, rebuilder: Rebuilder, volume: Volume) -> None:
    assert rebuilder.rebuild_if_lost()
    job = lay(volume, "a")
    assert rebuilder.rebuild_if_lost()
    assert store.run(forget_job(job)) == ("missing", "")
