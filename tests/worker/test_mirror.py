"""Events are mirrored to a failing volume without loss or duplicates."""

import errno
import fcntl
import json
import os
from collections.abc import Callable

import pytest

from contract import owning, reaping
from contract.control import control
from contract.events import EventType
from contract.job import Want
from contract.keys import RecordKind
from contract.owning import Lease
from contract.submitting import submit
from contract.volume import Volume
from worker import mirror
from worker.mirror import Mirror
from worker.store import Store

JOB_ID = "job_0123456789abcdef"
JOB = RecordKind.JOB
MANY = 600
"""More than stay in the stream once they are mirrored."""


@pytest.fixture
def owned(store: Store, volume: Volume) -> Callable[[int], None]:
    """Claims a job; returns a function that reports this many more events about it."""
    volume.job(JOB_ID).mkdir(parents=True)
    store.run(submit(JOB, JOB_ID, "{}"))
    claim = store.run(owning.claim(JOB, "w0", lease_seconds=60))
    assert claim is not None
    lease, told = Lease(JOB, JOB_ID, claim.token, 60), iter(range(1, 10_000))

    def tell(count: int) -> None:
        for _ in range(count):
            store.run(owning.report(lease, next(told), event=(EventType.WARNING, {"code": "x"})))

    return tell


def ids(volume: Volume) -> list[int]:
    return [json.loads(line)["id"] for line in volume.events(JOB_ID).read_text().splitlines()]


def test_worker_suspended_while_mirroring_does_not_block_others(
    store: Store, volume: Volume, owned: Callable[[int], None]
) -> None:
    owned(3)
    with volume.events(JOB_ID).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        Mirror(store, volume).copy_events(JOB)
        assert ids(volume) == []
    Mirror(store, volume).copy_events(JOB)
    assert ids(volume) == [1, 2, 3, 4, 5]


def test_events_stay_in_the_stream_until_the_volume_accepts_them(
    store: Store, volume: Volume, owned: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    copier = Mirror(store, volume)
    copier.copy_events(JOB)
    owned(MANY)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _refuse)
        for _ in range(3):
            copier.copy_events(JOB)
            assert ids(volume) == [1, 2]
            assert len(store.events_after(JOB, JOB_ID, 0)) == MANY + 2
    copier.copy_events(JOB)
    assert ids(volume) == list(range(1, MANY + 3))
    assert store.events_after(JOB, JOB_ID, 0)[0].id == MANY + 2 - mirror.KEPT_IN_REDIS
    assert store.unmirrored(JOB) == []


def test_volume_keeps_all_events_of_an_ended_job_and_the_stream_few(
    store: Store, volume: Volume, owned: Callable[[int], None]
) -> None:
    owned(MANY)
    store.run(reaping.reap(JOB, max_deaths=1, owner="w0"))
    Mirror(store, volume).copy_events(JOB)
    assert ids(volume) == list(range(1, MANY + 4))
    assert len(store.events_after(JOB, JOB_ID, 0)) < 50


def test_corrupt_line_is_rewritten_from_the_stream(
    store: Store, volume: Volume, owned: Callable[[int], None]
) -> None:
    owned(3)
    Mirror(store, volume).copy_events(JOB)
    log = volume.events(JOB_ID)
    whole = log.read_bytes()
    log.write_bytes(whole[:-9] + b"\0" * 8 + b"\n")
    owned(1)
    Mirror(store, volume).copy_events(JOB)
    assert log.read_bytes().startswith(whole)
    assert ids(volume) == [1, 2, 3, 4, 5, 6]


def test_log_that_cannot_be_mirrored_is_reported_once(
    store: Store,
    volume: Volume,
    owned: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    copier = Mirror(store, volume)
    monkeypatch.setattr(os, "fsync", _refuse)
    for _ in range(3):
        copier.copy_events(JOB)
    assert len([record for record in caplog.records if "cannot be mirrored" in record.message]) == 1


def test_job_whose_directory_cannot_be_looked_at_does_not_stop_the_mirroring_of_others(
    store: Store, volume: Volume, owned: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    damaged = "job_0000000000000000"
    volume.job(damaged).symlink_to("longer than any name may be" * 10)
    store.run(submit(JOB, damaged, "{}"))
    copier = Mirror(store, volume)
    for _ in range(2):
        owned(1)
        copier.copy_events(JOB)
    assert ids(volume) == [1, 2, 3, 4]
    assert [record.message.partition(":")[0] for record in caplog.records] == [damaged]
    assert len(store.events_after(JOB, damaged, 0)) == 1


def test_rebuild_reads_logs_on_a_volume_that_is_read_only(
    store: Store, volume: Volume, owned: Callable[[int], None]
) -> None:
    Mirror(store, volume).copy_events(JOB)
    with volume.events(JOB_ID).open("ab") as file:
        file.write(b'{"id":3,"ty')
    with volume.events(JOB_ID).open("rb") as file:
        last = mirror.last_event(file)
    assert last.id == 2
    assert last.end == volume.events(JOB_ID).stat().st_size - len(b'{"id":3,"ty')


def _refuse(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_line_that_a_crash_cut_off_is_replaced(store: Store, volume: Volume) -> None:
    volume.job(JOB_ID).mkdir()
    store.run(submit(JOB, JOB_ID, "{}"))
    Mirror(store, volume).copy_events(JOB)
    whole = volume.events(JOB_ID).read_text()
    with volume.events(JOB_ID).open("a") as file:
        file.write('{"id":2,"type":"sta')
    store.run(control(JOB, JOB_ID, Want.PAUSE))
    Mirror(store, volume).copy_events(JOB)
    assert volume.events(JOB_ID).read_text().startswith(whole)
    assert ids(volume) == [1, 2]


def test_damaged_event_log_does_not_stop_the_others(store: Store, volume: Volume) -> None:
    broken, sound = JOB_ID[:-1] + "0", JOB_ID
    for job in (broken, sound):
        volume.job(job).mkdir()
        store.run(submit(JOB, job, "{}"))
    volume.events(broken).write_bytes(b"\0\0\0\n")
    Mirror(store, volume).copy_events(JOB)
    assert ids(volume) == [1]
