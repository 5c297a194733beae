"""The reconciler goes on, whatever fails in one of its rounds."""

import dataclasses
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from contract.control import control
from contract.job import Want
from contract.keys import RecordKind
from contract.submitting import submit
from contract.volume import Volume
from contract.volume_watch import VolumeWatch
from tests.worker.threadless import no_threads
from worker.arrival import await_volume
from worker.process import WorkerProcess
from worker.rebuild import Rebuilder
from worker.reconciler import Reconciler
from worker.settings import Settings
from worker.store import Store

LEASE_SECONDS = 0.25
UNHURRIED_LEASE_SECONDS = 600.0
"""With such a lease a round waits two minutes for what it does to the volume, and with the other 0.05 s."""


@pytest.fixture
def rounds(redis_url: str, volume: Volume) -> Iterator[Callable[..., threading.Semaphore]]:
    """Runs a reconciler with this heartbeat file, and counts its hellos."""
    running: list[Reconciler] = []

    def run(
        heartbeat_file: Path,
        owed: Callable[[], object] = lambda: None,
        is_well: Callable[[], bool] = lambda: True,
        lease_seconds: float = LEASE_SECONDS,
    ) -> threading.Semaphore:
        seen = threading.Semaphore(0)
        settings = Settings(
            data_root=volume.root,
            redis_url=redis_url,
            lease_seconds=lease_seconds,
            heartbeat_file=heartbeat_file,
        )
        process = WorkerProcess.create("train-1", settings)
        process.later.owe(owed)
        reconciler = Reconciler(
            process,
            ring=lambda _: None,
            facts=lambda: {"role": "train"},
            adopt=lambda _: seen.release(),
            is_well=is_well,
        )
        reconciler.start()
        running.append(reconciler)
        return seen

    yield run
    for reconciler in running:
        reconciler.stop()


def test_worker_whose_watch_of_the_volume_cannot_begin_does_not_start(redis_url: str, volume: Volume) -> None:
    class NeverStarted(VolumeWatch):
        def start(self) -> None:
            with no_threads():
                super().start()

    process = WorkerProcess.create("train-1", Settings(data_root=volume.root, redis_url=redis_url))
    reconciler = Reconciler(
        dataclasses.replace(process, watch=NeverStarted(volume)),
        ring=lambda _: None,
        facts=lambda: {"role": "train"},
        adopt=lambda _: None,
        is_well=lambda: True,
    )
    with pytest.raises(RuntimeError, match="can't start new thread"):
        reconciler.start()


def test_unwritable_heartbeat_file_does_not_stop_the_reconciler(
    rounds: Callable[..., threading.Semaphore], tmp_path: Path
) -> None:
    seen = rounds(tmp_path / "missing" / "heartbeat")
    assert all(seen.acquire(timeout=60) for _ in range(3))


def test_volume_is_tended_though_the_directory_of_one_job_cannot_be_looked_at(
    rounds: Callable[..., threading.Semaphore], store: Store, volume: Volume, tmp_path: Path
) -> None:
    damaged, job_id = "job_0000000000000001", "job_0000000000000002"
    volume.job(damaged).symlink_to("longer than any name may be" * 10)
    volume.snapshots(job_id).mkdir(parents=True)
    for one in (damaged, job_id):
        store.run(submit(RecordKind.JOB, one, "{}"))
        store.run(control(RecordKind.JOB, one, Want.CANCEL))
    heartbeat, is_paid = tmp_path / "heartbeat", threading.Event()
    seen = rounds(heartbeat, is_paid.set, lease_seconds=UNHURRIED_LEASE_SECONDS)
    while not heartbeat.exists():
        assert seen.acquire(timeout=60)
    assert is_paid.is_set()
    assert not volume.snapshots(job_id).exists()
    assert store.unmirrored(RecordKind.JOB) == [damaged]


def test_worker_is_announced_though_the_volume_hangs_and_takes_it_up_again(
    rounds: Callable[..., threading.Semaphore],
    store: Store,
    rebuilder: Rebuilder,
    volume: Volume,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("contract.volume_watch.PATIENCE_SECONDS", 0.1)
    assert rebuilder.rebuild_if_lost()
    volume.epoch.unlink()
    os.mkfifo(volume.epoch)  # whoever reads it waits for a writer
    heartbeat = tmp_path / "heartbeat"
    seen = rounds(heartbeat)
    while "has not answered" not in caplog.text:
        assert seen.acquire(timeout=60)
    heartbeat.unlink(missing_ok=True)  # of rounds before that was known
    while seen.acquire(blocking=False):
        """Those rounds."""
    assert all(seen.acquire(timeout=60) for _ in range(3))
    assert not heartbeat.exists()
    os.close(os.open(volume.epoch, os.O_RDWR | os.O_NONBLOCK))
    volume.epoch.unlink()
    while not heartbeat.exists():
        assert seen.acquire(timeout=60)


def test_worker_is_announced_and_healthy_while_its_work_on_the_volume_takes_long(
    rounds: Callable[..., threading.Semaphore], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow, heartbeat = threading.Event(), tmp_path / "heartbeat"
    seen = rounds(heartbeat, slow.wait)
    assert all(seen.acquire(timeout=60) for _ in range(3))
    assert heartbeat.exists()
    assert caplog.text.count("its last writes have not ended after") == 1
    slow.set()


def test_volume_that_was_deleted_is_laid_out_anew_once_redis_is_empty_and_a_worker_restarts(
    rounds: Callable[..., threading.Semaphore],
    client: redis.Redis,
    store: Store,
    volume: Volume,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    heartbeat = tmp_path / "heartbeat"
    seen = rounds(heartbeat)
    while not heartbeat.exists():
        assert seen.acquire(timeout=60)
    shutil.rmtree(volume.root)
    while "empty Redis and restart the workers" not in caplog.text:
        assert seen.acquire(timeout=60)
    client.flushdb()
    await_volume(store, volume)
    assert rounds(heartbeat).acquire(timeout=60)
    assert volume.jobs.is_dir()


def test_worker_does_not_complain_of_a_new_volume_that_another_has_just_laid_out(
    rounds: Callable[..., threading.Semaphore],
    rebuilder: Rebuilder,
    volume: Volume,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("contract.volume_watch.LOOK_SECONDS", 60)
    shutil.rmtree(volume.root)
    heartbeat = tmp_path / "heartbeat"
    rebuild = rebuilder.rebuild_if_lost  # after the watch has looked
    seen = rounds(heartbeat, is_well=rebuild, lease_seconds=UNHURRIED_LEASE_SECONDS)
    assert all(seen.acquire(timeout=60) for _ in range(2))
    assert heartbeat.exists()
    assert "not mounted" not in caplog.text


def test_volume_that_is_away_is_not_laid_out_anew_when_redis_is_emptied(
    rounds: Callable[..., threading.Semaphore], client: redis.Redis, volume: Volume, tmp_path: Path
) -> None:
    seen = rounds(tmp_path / "heartbeat")
    assert seen.acquire(timeout=60)
    (tmp_path / "heartbeat").unlink(missing_ok=True)
    away = volume.root.rename(volume.root.with_name("away"))
    volume.root.mkdir()
    client.flushdb()
    while seen.acquire(timeout=1):
        """Those that were under way."""
    assert not [*volume.root.iterdir()]
    volume.root.rmdir()
    away.rename(volume.root)
    assert seen.acquire(timeout=60)
