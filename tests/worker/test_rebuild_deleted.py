"""A record that is deleted while a worker reads its files to restore it does not return."""

from pathlib import Path

import pytest

from contract.job import State
from contract.keys import RecordKind
from contract.volume import Volume
from tests.worker.test_rebuild import facts, lay
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
