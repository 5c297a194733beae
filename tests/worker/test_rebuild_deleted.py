"""A record that is deleted while a worker reads its files to restore it does not return."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import redis

from contract.command import Command
from contract.forgetting import forget_job
from contract.job import State
from contract.keys import EPOCH, RecordKind
from contract.rebuilding import RestoreOutcome, leave_out
from contract.volume import Volume
from tests.worker.test_rebuild import facts, lay
from worker import rebuild_records
from worker.rebuild import Rebuilder
from worker.store import Store

JOB = RecordKind.JOB


def test_rename_of_the_tombstone_between_two_looks_does_not_hide_it(
    store: Store, rebuilder: Rebuilder, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis had forgotten the record just before it was emptied, and the gateway completes the deletion."""
    job, exists = lay(volume, "a", facts(State.CANCELLED)), Path.exists
    pending, final = volume.pending_tombstone(job), volume.tombstone(job)
    pending.touch()

    def complete_after(path: Path) -> bool:
        found = exists(path)
        if path in (pending, final):
            monkeypatch.setattr(Path, "exists", exists)
            pending.replace(final)
        return found

    monkeypatch.setattr(Path, "exists", complete_after)
    assert rebuilder.rebuild_if_lost()
    rebuilder.restore_left_out()
    assert store.state(JOB, job) is None
    assert store.left_out() == []


@pytest.mark.parametrize("is_readable", [True, False])
def test_deleted_record_that_another_worker_had_restored_stays_deleted(
    store: Store,
    rebuilder: Rebuilder,
    volume: Volume,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_readable: bool,
) -> None:
    """Both had found it among those left out, and this one had read its files, or failed to, before."""
    job, restoring = lay(volume, "a", facts(State.CANCELLED)), rebuild_records._restoring
    assert store.run(leave_out(job))
    other = Rebuilder(store, volume, "w1", lease_seconds=60)

    def read_first(*given: Any, **more: Any) -> Command[RestoreOutcome]:
        command = restoring(*given, **more)
        monkeypatch.setattr(rebuild_records, "_restoring", restoring)
        other.restore_left_out()
        assert store.run(forget_job(job))[0] == "forgotten"
        if not is_readable:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return command

    client.set(EPOCH, "1")
    monkeypatch.setattr(rebuild_records, "_restoring", read_first)
    rebuilder.restore_left_out()
    assert store.state(JOB, job) is None
    assert store.left_out() == []
