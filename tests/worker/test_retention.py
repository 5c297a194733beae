"""Snapshots are deleted once their job has ended, and not before."""

import pytest

from contract import owning
from contract.control import control
from contract.job import State, Want
from contract.keys import RecordKind
from contract.owning import Lease
from contract.submitting import submit
from contract.volume import Volume
from worker.retention import drop_needless_snapshots
from worker.store import Store

JOB = RecordKind.JOB


@pytest.mark.parametrize("state", list(State))
def test_snapshots_are_kept_as_long_as_the_job_may_resume(
    redis_url: str, volume: Volume, state: State
) -> None:
    store, job_id = Store(redis_url), "job_0000000000000001"
    snapshot, checkpoint = (
        volume.snapshot(job_id, "1-1.safetensors"),
        volume.checkpoint(job_id, "1-1.safetensors"),
    )
    for file in (snapshot, checkpoint):
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights")
    store.run(submit(JOB, job_id, "{}"))
    claim = store.run(owning.claim(JOB, "w0", lease_seconds=60))
    assert claim is not None
    if state is State.PAUSED:
        store.run(control(JOB, job_id, Want.PAUSE))
    if state is not State.RUNNING:
        left_as = State.QUEUED if state is State.PAUSED else state
        store.run(owning.leave(Lease(JOB, job_id, claim.token, 60), left_as))
    assert store.state(JOB, job_id) is state
    drop_needless_snapshots(store, volume)
    assert snapshot.exists() == (not state.is_terminal)
    assert checkpoint.exists()


def test_directory_without_a_record_is_left_alone(redis_url: str, volume: Volume) -> None:
    snapshot = volume.snapshot("job_0000000000000002", "1-1.safetensors")
    snapshot.parent.mkdir(parents=True)
    snapshot.write_bytes(b"weights")
    drop_needless_snapshots(Store(redis_url), volume)
    assert snapshot.exists()


def test_job_whose_directory_cannot_be_looked_at_does_not_keep_the_snapshots_of_others(
    redis_url: str, volume: Volume, caplog: pytest.LogCaptureFixture
) -> None:
    store, job_id = Store(redis_url), "job_0000000000000002"
    for damaged in ("job_0000000000000001", "job_0000000000000003"):
        volume.job(damaged).symlink_to("longer than any name may be" * 10)
    volume.snapshots(job_id).mkdir(parents=True)
    store.run(submit(JOB, job_id, "{}"))
    store.run(control(JOB, job_id, Want.CANCEL))
    drop_needless_snapshots(store, volume)
    assert not volume.snapshots(job_id).exists()
    assert caplog.text.count("cannot be told") == 1
