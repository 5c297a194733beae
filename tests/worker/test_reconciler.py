"""The reconciler goes on, whatever fails in one of its rounds."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.volume import Volume
from worker.process import WorkerProcess
from worker.reconciler import Reconciler
from worker.settings import Settings

LEASE_SECONDS = 0.25


@pytest.fixture
def rounds(redis_url: str, volume: Volume) -> Iterator[Callable[[Path], threading.Semaphore]]:
    """Runs a reconciler with this heartbeat file, and counts its hellos."""
    running: list[Reconciler] = []

    def run(heartbeat_file: Path) -> threading.Semaphore:
        seen = threading.Semaphore(0)
        settings = Settings(
            data_root=volume.root,
            redis_url=redis_url,
            lease_seconds=LEASE_SECONDS,
            heartbeat_file=heartbeat_file,
        )
        reconciler = Reconciler(
            WorkerProcess.create("train-1", settings),
            ring=lambda _: None,
            facts=lambda: {"role": "train"},
            adopt=lambda _: seen.release(),
            is_well=lambda: True,
        )
        reconciler.start()
        running.append(reconciler)
        return seen

    yield run
    for reconciler in running:
        reconciler.stop()


def test_unwritable_heartbeat_file_does_not_stop_the_reconciler(
    rounds: Callable[[Path], threading.Semaphore], tmp_path: Path
) -> None:
    seen = rounds(tmp_path / "missing" / "heartbeat")
    assert all(seen.acquire(timeout=60) for _ in range(3))
